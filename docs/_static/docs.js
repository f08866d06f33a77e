// On a phone a row of a table is shown as a card: each cell gets the title of its column.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.docutils:not(.doors)")) {
    const titles = [...table.querySelectorAll("thead th")].map((each) => each.textContent.trim());
    if (titles.length < 3 || table.querySelector("td:nth-child(3)") === null) continue;
    table.classList.add("cards");
    for (const row of table.querySelectorAll("tbody tr"))
      [...row.cells].forEach((cell, place) => (cell.dataset.title = titles[place] ?? ""));
  }
});
