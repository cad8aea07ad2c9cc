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
addEventListener("hashchange", () => { readFragment(); for (const view of views) view(); });
