for (const part of document.querySelectorAll(".scripted")) part.hidden = false;
readFragment();
selectionView();
tableView();
whereView();
plotsView();
frontView();
rooflineView();
budgetView();
for (const view of views) view();
// A link within the page leaves the selection as it is.
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById(link.hash.slice(1)).scrollIntoView();
  });
}
// What the notes of a table say is part of it on paper.
const notes = [...document.querySelectorAll("details.notes")];
const wereOpen = new Map();
addEventListener("beforeprint", () => notes.forEach((one) => { wereOpen.set(one, one.open); one.open = true; }));
addEventListener("afterprint", () => notes.forEach((one) => { one.open = wereOpen.get(one); }));
addEventListener("hashchange", () => { readFragment(); for (const view of views) view(); });
