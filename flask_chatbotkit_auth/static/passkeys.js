// Passkeys: sign in with one, make one, remove one. Every page works without it; what needs it stays hidden.
"use strict";
(() => {
  const signIn = document.querySelector("[data-passkey-sign-in]");
  const able = document.querySelector("[data-passkey-able]");
  const left = document.querySelector("[data-passkey-accepted]");

  // Passkeys belong to a host and to those below it. Elsewhere, as in a browser that does not know them, nothing is offered,
  // and nothing keeps the place of an offer.
  const id = JSON.parse(signIn?.dataset.options || left?.dataset.passkeyAccepted || "{}").rpId || able?.dataset.passkeyAble;
  const here = `.${location.hostname}`;
  if (!window.PublicKeyCredential || !navigator.credentials || (id && !here.endsWith(`.${id}`))) {
    document.querySelectorAll(".auth-passkey").forEach((each) => each.remove());
    if (left && !left.querySelector("li")) left.remove();
    return;
  }

  const bytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");

  // The options as they come in JSON, with bytes where the browser wants bytes.
  const read = (options) => ({
    ...options,
    challenge: bytes(options.challenge),
    ...(options.user && { user: { ...options.user, id: bytes(options.user.id) } }),
    ...["allowCredentials", "excludeCredentials"].reduce((lists, name) => {
      if (options[name]) lists[name] = options[name].map((each) => ({ ...each, id: bytes(each.id) }));
      return lists;
    }, {}),
  });

  // Written by hand: the objects of some password managers have a toJSON that throws.
  const written = (credential) => {
    const { response } = credential;
    const answer = { clientDataJSON: text(response.clientDataJSON) };
    for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (response[name]) answer[name] = text(response[name]);
    }
    if (response.getTransports) answer.transports = response.getTransports();
    return {
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      authenticatorAttachment: credential.authenticatorAttachment,
      clientExtensionResults: {},
      response: answer,
    };
  };

  const post = async (area, url, body, again = true) => {
    const answer = await fetch(url, {
      method: "POST",
      headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": area.dataset.token },
      body: JSON.stringify(body),
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said;
    const error = said.error || {};
    if (error.code === "csrf" && again) {
      // The page's token is too old, or its key was changed: one new token, one more try.
      const session = await fetch(area.dataset.session, { headers: { Accept: "application/json" } });
      area.dataset.token = (await session.json()).csrf_token;
      return post(area, url, body, false);
    }
    throw Object.assign(new Error(error.message || area.dataset.failed), { code: error.code, said: true });
  };

  const say = (area, sentence) => {
    const note = area.querySelector("[data-passkey-note]");
    note.hidden = !sentence;
    note.lastElementChild.textContent = sentence;
  };

  // What went wrong, for the person; nothing where they changed their mind.
  const explain = (area, error) => {
    if (error.said) return error.message;
    if (error.name === "AbortError" || error.name === "NotAllowedError") return "";
    return error.name === "InvalidStateError" && area.dataset.already ? area.dataset.already : area.dataset.failed;
  };

  const tell = (method, options) => window.PublicKeyCredential[method]?.(options)?.catch?.(() => {});

  let waiting = null; // A browser takes one question at a time: the one before is taken back.
  const ask = (how, options) => {
    waiting?.abort();
    waiting = new AbortController();
    return navigator.credentials[how]({ ...options, publicKey: read(options.publicKey), signal: waiting.signal });
  };

  if (signIn) {
    const finish = async (credential) => {
      try {
        const next = document.querySelector("[name=next]")?.value;
        const body = { credential: written(credential), ...(next && { next }) };
        location.assign((await post(signIn, signIn.dataset.finish, body)).redirect);
      } catch (error) {
        if (error.code === "unknown_passkey") {
          const rpId = JSON.parse(signIn.dataset.options).rpId;
          tell("signalUnknownCredential", { rpId, credentialId: credential.id });
        }
        throw error;
      }
    };
    const renew = async () => {
      const said = await post(signIn, signIn.dataset.begin, {});
      signIn.dataset.options = JSON.stringify(said.publicKey);
    };
    const wait = async () => {
      if (!(await window.PublicKeyCredential.isConditionalMediationAvailable?.())) return;
      try {
        await finish(await ask("get", { mediation: "conditional", publicKey: JSON.parse(signIn.dataset.options) }));
      } catch (error) {
        // Nobody pressed anything: only what the server said of a passkey that was chosen is worth a word.
        if (error.said) {
          say(signIn, explain(signIn, error));
          renew().then(wait, () => {});
        }
      }
    };
    // The challenge lasts ten minutes, and a page may be open for longer.
    setInterval(() => renew().then(wait, () => {}), 9 * 60 * 1000);
    signIn.querySelector("button").addEventListener("click", async () => {
      say(signIn, "");
      signIn.toggleAttribute("data-busy", true);
      try {
        await finish(await ask("get", { publicKey: JSON.parse(signIn.dataset.options) }));
      } catch (error) {
        say(signIn, explain(signIn, error));
        renew().then(wait, () => {});
      }
      signIn.toggleAttribute("data-busy", false);
    });
    signIn.hidden = false;
    wait();
  }

  // The code page tells the server whether an offer makes sense on this device.
  const local = window.PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable?.() ?? Promise.resolve(false);
  if (able) local.then((can) => (able.value = can ? "1" : ""));

  for (const area of document.querySelectorAll("[data-passkey-create]")) {
    area.querySelector("[data-passkey-make]").addEventListener("click", async () => {
      say(area, "");
      area.toggleAttribute("data-busy", true);
      try {
        const { publicKey } = await post(area, area.dataset.begin, area.dataset.offer ? { offer: true } : {});
        const credential = await ask("create", { publicKey });
        await post(area, area.dataset.finish, { credential: written(credential) });
        location.assign(area.dataset.next);
      } catch (error) {
        if (error.code === "not_fresh") return location.assign(area.dataset.prove);
        say(area, explain(area, error));
      }
      area.toggleAttribute("data-busy", false);
    });
    area.hidden = false;
  }

  document.querySelector("[data-passkey-later]")?.addEventListener("click", (event) => {
    document.cookie = event.currentTarget.dataset.passkeyLater; // Kept in this browser for 30 days.
  });

  // After one was removed, the device's own list is told which are left.
  if (left) tell("signalAllAcceptedCredentials", JSON.parse(left.dataset.passkeyAccepted));
})();
