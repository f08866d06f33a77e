// The chat: sends the conversation so far, and shows the answer token by token as it arrives.
const log = document.querySelector("#messages");
const welcome = document.querySelector("#welcome");
const form = document.querySelector("#composer");
const field = document.querySelector("#text");
const send = document.querySelector("#send");
const stop = document.querySelector("#stop");
const status = document.querySelector("#status");

const messages = remembered(); // {type: "user" or "bot", text}, as ChatBotKit has it
let announced = 0; // characters of the answer that screen readers have been told
let leaving = false; // the writer is signing out: nothing is kept any more
let call = null; // the AbortController of the answer under way

class Problem extends Error {} // its message is a sentence for the person

if (form.dataset.messages) remember();
if (messages.length) welcome.remove();
for (const { type, text } of messages) show(type).textContent = text;
field.focus();
// A question whose answer a reload has broken off.
if (messages.at(-1)?.type === "user") complain("The answer broke off.");

// What was said survives a reload, in this tab, until its writer signs out.
function remembered() {
  if (form.dataset.messages) return JSON.parse(form.dataset.messages); // chosen from the history, or a new one
  try {
    form.action = sessionStorage.getItem(`${form.dataset.history} at`) ?? form.action;
    return JSON.parse(sessionStorage.getItem(form.dataset.history)) ?? [];
  } catch {
    return []; // storage is blocked, or holds something else
  }
}

function remember() {
  if (leaving) return;
  try {
    sessionStorage.setItem(form.dataset.history, JSON.stringify(messages));
    sessionStorage.setItem(`${form.dataset.history} at`, form.action);
  } catch {
    // Blocked or full: the talk goes on.
  }
}

document.querySelector("nav form").addEventListener("submit", () => {
  leaving = true;
  try {
    sessionStorage.clear();
  } catch {
    // Blocked: there is nothing in it.
  }
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  say(field.value.trim());
});

field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});

stop.addEventListener("click", () => call?.abort());

for (const starter of document.querySelectorAll(".starters button")) {
  starter.addEventListener("click", () => say(starter.textContent));
}

function say(text) {
  if (!text || call) return;
  field.value = "";
  welcome.remove();
  log.querySelector(".problem")?.remove();
  messages.push({ type: "user", text });
  remember();
  show("user").textContent = text;
  answer();
}

async function answer() {
  const bubble = show("bot");
  let text = "";
  busy(new AbortController());
  try {
    for await (const { type, data } of completion(call.signal)) {
      if (type === "token") bubble.textContent = text += data.token;
      if (type === "token") announce(text.match(/^[^]*[.!?…。！？](?=\s)/u)?.[0]);
      if (type === "error") throw new Problem(data.message);
      if (type === "result") bubble.dataset.done = true;
      follow();
    }
    if (!bubble.dataset.done) throw new Problem("The answer broke off.");
    announce(text);
  } catch (error) {
    if (call.signal.aborted) {
      status.textContent = "Stopped.";
      bubble.dataset.stopped = true;
    } else {
      text = "";
      complain(error instanceof Problem ? error.message : "We cannot reach the chat. Are you online?");
    }
  }
  if (text) messages.push({ type: "bot", text });
  else bubble.remove();
  remember();
  busy(null);
}

// Screen readers hear an answer by whole sentences as they are there: what is new is added, and the region reads additions.
function announce(sentences = "") {
  if (announced === 0 && sentences) status.replaceChildren();
  if (sentences.length > announced) status.append(sentences.slice(announced));
  announced = Math.max(announced, sentences.length);
}

// The events of the answer: one JSON object to a line, {"type": …, "data": …}.
async function* completion(signal) {
  const { user, csrf_token } = await (await fetch(form.dataset.session, { signal })).json();
  if (!user) return location.reload(); // signed out meanwhile: the server sends us to sign in, and back here
  const response = await fetch(form.action, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": csrf_token },
    body: JSON.stringify({ messages }),
    signal,
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new Problem(answer?.error?.message ?? "Something went wrong. Try again in a moment.");
  }
  form.action = response.headers.get("X-Conversation") ?? form.action; // ChatBotKit keeps it from here on
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

function show(type) {
  const bubble = document.createElement("article");
  bubble.className = `message ${type}`;
  bubble.setAttribute("aria-label", type === "user" ? "You" : "Parley");
  bubble.dir = "auto";
  log.append(bubble);
  log.scrollTop = log.scrollHeight;
  return bubble;
}

function complain(sentence) {
  const problem = document.createElement("div");
  problem.className = "problem";
  problem.setAttribute("role", "alert");
  const retry = document.createElement("button");
  retry.className = "button quiet";
  retry.textContent = "Try again";
  retry.addEventListener("click", () => {
    problem.remove();
    answer();
  });
  problem.append(sentence, retry);
  log.append(problem);
  log.scrollTop = log.scrollHeight;
}

function busy(controller) {
  const focused = document.activeElement;
  call = controller;
  log.setAttribute("aria-busy", Boolean(call));
  send.hidden = Boolean(call);
  stop.hidden = !call;
  if (call) {
    announced = 0;
    status.textContent = "Answering …";
  }
  // The button that had the focus may be gone.
  if (focused === stop || focused === send || !focused.isConnected) field.focus();
}

// Keep up with what arrives, unless the reader has scrolled up to read.
function follow() {
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 120) log.scrollTop = log.scrollHeight;
}
