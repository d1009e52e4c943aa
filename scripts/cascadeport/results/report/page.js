// Enlarged pictures: Escape closes, arrow keys go to the next. The page works without this.
addEventListener("keydown", (event) => {
  const open = document.querySelector("figure.picture:target");
  if (!open) return;
  const pictures = [...document.querySelectorAll("figure.picture")];
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (event.key === "Escape") location.replace(open.querySelector(".close").hash);
  else if (step) location.replace("#" + pictures.at((pictures.indexOf(open) + step) % pictures.length).id);
});
