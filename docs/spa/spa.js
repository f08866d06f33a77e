// Signing in over the JSON API of flask-chatbotkit-auth: no framework, no build step.
// CHATBOTKIT_AUTH_URL_PREFIX; for an API on another origin "https://api.example.com/auth"
const AUTH = "/auth";
const $ = (id) => document.getElementById(id);
const OVER = ["no_challenge", "code_expired", "too_many_attempts", "sign_in_denied", "sign_up_disabled"];
let token; // for every POST; the browser's session has one, and another after signing in or out

async function call(path, body) {
  const response = await fetch(AUTH + path, {
    method: body ? "POST" : "GET",
    credentials: "include", // as on the same origin, for an API on another one
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": token },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw answer.error; // {code, message, …}
  return answer;
}

async function post(path, body = {}) {
  try {
    return await call(path, body);
  } catch (error) {
    if (error.code !== "csrf") throw error;
    await look(); // signed in or out in another tab, or the page was open for long
    return call(path, body);
  }
}

async function look() {
  const { user, csrf_token } = await call("/session");
  token = csrf_token;
  return user;
}

function show(view) {
  for (const each of document.querySelectorAll(".view")) each.hidden = each.id !== view;
  $(view).querySelector("input, [tabindex]").focus();
}

// The sign-in that waits for its code: a phone may have dropped this page while its person was in their mail.
async function pending() {
  try {
    return await call("/verify");
  } catch (error) {
    if (error.code !== "no_challenge") throw error;
  }
}

async function start() {
  const user = await look();
  const waiting = user ? undefined : await pending();
  if (waiting) holdAgain(waiting);
  $("who").textContent = user?.name ?? user?.email;
  show(user ? "inside" : waiting ? "type" : "ask");
}

function enable(button, on) {
  button.ariaDisabled = String(!on); // and not `disabled`, which would take the focus away
}

// Do what a button says, once at a time, and tell what comes of it.
async function act(button, work) {
  if (button.ariaDisabled === "true") return;
  enable(button, false);
  $("problem").textContent = $("notice").textContent = "";
  let wait = 0; // seconds
  try {
    wait = (await work()) ?? 0;
  } catch (error) {
    const { code, message, attempts_left, retry_after } = error;
    const left = attempts_left ? ` Tries left: ${attempts_left}.` : "";
    $("problem").textContent = code ? message + left : "We cannot reach the server. Try again in a moment.";
    wait = retry_after ?? 0;
    if (OVER.includes(code) || attempts_left === 0) show("ask");
  }
  setTimeout(enable, wait * 1000, button, true);
}

function holdAgain({ challenge }) {
  enable($("again"), false);
  setTimeout(enable, challenge.resend_in * 1000, $("again"), true);
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  act(event.submitter, async () => {
    holdAgain(await post("/sign-in", { email: $("email").value }));
    $("code").value = "";
    show("type");
  });
});

$("type").addEventListener("submit", (event) => {
  event.preventDefault();
  act(event.submitter, async () => {
    await post("/verify", { code: $("code").value });
    await start();
  });
});

$("again").addEventListener("click", () =>
  act($("again"), async () => {
    const { challenge } = await post("/resend");
    $("notice").textContent = "Another code is on its way. The earlier ones still work.";
    return challenge.resend_in;
  }),
);

$("back").addEventListener("click", () => show("ask"));

$("leave").addEventListener("click", () =>
  act($("leave"), async () => {
    await post("/sign-out");
    await start();
  }),
);

act($("leave"), start);
