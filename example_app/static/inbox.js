// The inbox shows a new mail by itself.
const inbox = document.querySelector("#inbox");

setInterval(async () => {
  if (document.hidden) return;
  try {
    const { latest } = await (await fetch(inbox.dataset.url)).json();
    if (latest !== inbox.dataset.latest) location.reload();
  } catch {
    // The server is restarting, perhaps: the next look will tell.
  }
}, 1500);
