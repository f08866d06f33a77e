// Makes the sign-in pages a little kinder. Every page works without it.
"use strict";
(() => {
  const forms = document.querySelectorAll(".auth-page form");
  const language = document.documentElement.lang || undefined;

  // One press, one request. The lock opens by itself in case the request was stopped, and when the page comes back.
  const lock = (form, on) => form.toggleAttribute("data-busy", on);
  for (const form of forms) {
    form.addEventListener("submit", (event) => {
      if (form.hasAttribute("data-busy") || form.querySelector("[aria-disabled]")) return event.preventDefault();
      lock(form, true);
      setTimeout(lock, 10000, form, false);
    });
  }
  addEventListener("pageshow", (event) => {
    if (event.persisted) for (const form of forms) lock(form, false);
  });

  // A whole code that arrives at once (pasted, or filled in by the phone) is sent; a typed one waits for its writer.
  const field = document.querySelector("[data-code-length]");
  if (field) {
    const valid = field.inputMode === "numeric" ? /^\d+$/ : /^[a-z\d]+$/i;
    const plain = () => field.value.normalize("NFKC").replace(/[\s\p{Pd}]/gu, "");
    let before = plain().length;
    field.addEventListener("input", (event) => {
      const code = plain();
      const atOnce = event.inputType === "insertFromPaste" || code.length > before + 1;
      before = code.length;
      if (atOnce && code.length === Number(field.dataset.codeLength) && valid.test(code)) field.form.requestSubmit();
    });
  }

  // Count down until another code may be asked for; by the clock, since a hidden page's timers run late.
  const resend = document.querySelector("form[data-seconds]");
  if (resend) {
    const button = resend.querySelector("button");
    const text = resend.querySelector("[data-now]");
    const plurals = new Intl.PluralRules(language);
    const end = Date.now() + resend.dataset.seconds * 1000;
    const tick = () => {
      const left = Math.ceil((end - Date.now()) / 1000);
      if (left > 0) {
        text.textContent = text.dataset[plurals.select(left)].replace("{n}", left);
        return;
      }
      clearInterval(timer);
      button.removeAttribute("aria-disabled");
      text.setAttribute("role", "status");
      text.textContent = text.dataset.now;
    };
    button.setAttribute("aria-disabled", "true");
    const timer = setInterval(tick, 500);
    tick();
  }

  // Times in the reader's own zone, in the page's language.
  for (const time of document.querySelectorAll(".auth-page time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!isNaN(moment)) time.textContent = moment.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  }
})();
