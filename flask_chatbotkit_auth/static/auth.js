// Makes the sign-in pages a little kinder. Every page works without it.
"use strict";
(() => {
  const forms = document.querySelectorAll(".auth-page form");
  const language = document.documentElement.lang || undefined;

  // Few screen readers read a status that is there from the start: it comes in a moment later, into the room it has.
  for (const note of document.querySelectorAll(".auth-note[role=status]")) {
    const words = note.lastElementChild;
    const text = words.textContent;
    note.style.minHeight = `${note.offsetHeight}px`;
    words.textContent = "";
    setTimeout(() => { words.textContent = text; }, 100);
  }

  // One press, one request, and the button says what it does. The lock opens as soon as anything is typed, with Escape, when
  // the page comes back, and by itself in case the request was stopped.
  const free = (form) => {
    if (!form.hasAttribute("data-busy")) return;
    form.removeAttribute("data-busy");
    clearTimeout(form.slow);
    form.label.replaceChildren(form.words);
  };
  for (const form of forms) {
    const button = form.label = form.querySelector("button");
    if (!button) continue;
    form.words = button.textContent;
    button.setAttribute("aria-live", "polite");
    form.addEventListener("submit", (event) => {
      if (form.hasAttribute("data-busy") || button.hasAttribute("aria-disabled")) return event.preventDefault();
      form.setAttribute("data-busy", "");
      setTimeout(free, 20000, form);
      if (!button.dataset.busy) return;
      button.textContent = button.dataset.busy;
      form.slow = setTimeout(() => {
        const slow = document.createElement("span");
        slow.className = "auth-slow";
        slow.textContent = button.dataset.slow;
        button.append(slow);
      }, 4000);
    });
    // Before the field itself hears of it, which may send the form and close the lock again.
    form.addEventListener("input", () => free(form), true);
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") forms.forEach(free); });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    forms.forEach(free);
    // Some browsers keep a page in spite of no-store. What a signed-in person saw is asked for again: they may have left.
    if (!("private" in document.body.dataset)) return;
    document.body.hidden = true;
    location.reload();
  });

  // A whole code is sent when it arrives at once (pasted, or filled in by the phone), and when its last character is typed.
  // The latter once a page, and never after a wrong code, which its writer is about to correct.
  const field = document.querySelector("[data-code-length]");
  if (field) {
    const valid = field.inputMode === "numeric" ? /^\p{Nd}+$/u : /^[a-z\d]+$/i;
    const plain = () => field.value.normalize("NFKC").replace(/[\s\p{Pd}]/gu, "");
    let before = 0;
    let typed = field.hasAttribute("aria-invalid");
    // Pasted with the sentence around it: the one number in there that is as long as a code.
    const pick = () => {
      const numbers = field.value.normalize("NFKC").match(/\p{Nd}(?:[\s\p{Pd}]?\p{Nd})*/gu) ?? [];
      const whole = numbers.filter((each) => each.replace(/\P{Nd}/gu, "").length === Number(field.dataset.codeLength));
      if (whole.length === 1) field.value = whole[0];
    };
    const look = (event) => {
      const pasted = event?.inputType === "insertFromPaste";
      if (pasted && field.inputMode === "numeric") pick();
      const code = plain();
      const atOnce = event && (pasted || code.length > before + 1);
      const added = code.length > before;
      before = code.length;
      if (code.length !== Number(field.dataset.codeLength) || !valid.test(code)) return;
      if (!atOnce && (typed || !added)) return;
      typed = true;
      field.form.requestSubmit();
    };
    field.addEventListener("input", look);
    // What was there before this script was; but nothing that a browser puts back when it goes back or loads again.
    if (performance.getEntriesByType("navigation")[0]?.type === "navigate") look();
    else before = plain().length;
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
    // The last sentence is the shortest, and may need a line less.
    text.style.minHeight = `${text.offsetHeight}px`;
    const timer = setInterval(tick, 500);
    tick();
  }

  // The exact time behind "2 hours ago", in the reader's own zone.
  for (const time of document.querySelectorAll(".auth-page time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!isNaN(moment)) time.title = moment.toLocaleString(language, { dateStyle: "long", timeStyle: "short" });
  }

  // A picture that does not load makes room for what it stands for.
  for (const picture of document.querySelectorAll(".auth-logo, .auth-portrait")) {
    const replace = () => {
      const words = document.createElement("span");
      words.className = picture.alt ? "auth-name" : "auth-monogram";
      words.textContent = picture.alt || picture.dataset.letter;
      if (!picture.alt) words.setAttribute("aria-hidden", "true");
      picture.replaceWith(words);
    };
    if (picture.complete && !picture.naturalWidth) replace();
    else picture.addEventListener("error", replace);
  }
})();
