// The page works without this: it adds keys for enlarged pictures, sorting and filters.

// Enlarged pictures: Escape closes, arrow keys go to the next.
addEventListener("keydown", (event) => {
  const open = document.querySelector("figure.picture:target");
  if (!open) return;
  const pictures = [...open.closest(".gallery").querySelectorAll("figure.picture")];
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (event.key === "Escape") location.replace(open.querySelector(".close").hash);
  else if (step) location.replace("#" + pictures.at((pictures.indexOf(open) + step) % pictures.length).id);
});

// Tables: a click on a column's name sorts by it, another one the other way round.
const value = (cell) => {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace("−", "-").replace("+", ""));
  return Number.isNaN(number) ? text : number;
};
const ranked = (a, b) => {
  const missing = [a, b].map((one) => one === "–" || one === "");
  if (missing[0] || missing[1]) return missing[0] - missing[1];
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
};
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      headers.forEach((each) => each.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => ranked(value(a.cells[column]), value(b.cells[column])));
      // What was not measured stays at the end, whichever way.
      const known = rows.filter((row) => !["–", ""].includes(row.cells[column].textContent.trim()));
      const unknown = rows.filter((row) => !known.includes(row));
      body.append(...(descending ? known.reverse() : known), ...unknown);
    });
  });
}

// Filters: buttons above a list that show only the items of one kind, or whose name has some text.
for (const filter of document.querySelectorAll("[data-filters]")) {
  filter.hidden = false;
  const items = [...document.getElementById(filter.dataset.filters).children];
  const show = (wanted) => items.forEach((item) => { item.hidden = !wanted(item); });
  const buttons = [...filter.querySelectorAll("button")];
  buttons.forEach((button) => button.addEventListener("click", () => {
    buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
    const kind = button.dataset.kind;
    show((item) => !kind || (item.dataset.kinds || "").split(" ").includes(kind));
  }));
  const input = filter.querySelector("input");
  if (input) {
    input.addEventListener("input", () => {
      const text = input.value.trim().toLowerCase();
      show((item) => item.textContent.toLowerCase().includes(text));
    });
  }
}

// Charts: a click enlarges one to the width of the page, another one makes it small again.
for (const figure of document.querySelectorAll(".charts figure")) {
  const chart = figure.querySelector("svg");
  if (!chart) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.textContent = "Enlarge";
  button.setAttribute("aria-label", "Enlarge: " + (chart.getAttribute("aria-label") || "chart"));
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const large = figure.classList.toggle("large");
    button.setAttribute("aria-pressed", String(large));
    button.textContent = large ? "Make small" : "Enlarge";
  });
  figure.append(button);
}
