// Signing in from a page of another origin: a token in memory, no cookie.
const SITE = window.SITE ?? "https://shop.example.com";
const $ = (id) => document.getElementById(id);
let challenge; // stands for the sign-in that waits for its code
let token; // the session; gone with the page

async function call(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(SITE + path, {
    method: body ? "POST" : "GET",
    credentials: "omit",
    headers,
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  challenge = (answer.challenge ?? answer.error?.challenge)?.token ?? challenge;
  if (response.status === 401) token = undefined; // it has ended
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

function act(form, work) {
  $(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      $("said").textContent = await work();
    } catch (error) {
      $("said").textContent = error.message;
    }
  });
}

act("ask", async () => {
  const answer = await call("/auth/app/sign-in", { email: $("email").value, name: "Our front end" });
  return `We sent a code to ${answer.challenge.email}.`;
});

act("type", async () => {
  ({ token } = await call("/auth/app/verify", { challenge, code: $("code").value }));
  return (await call("/notes")).owner;
});

act("look", async () => (await call("/notes")).owner);

act("leave", async () => {
  await call("/auth/app/sign-out", {});
  token = undefined;
  return "Signed out.";
});
