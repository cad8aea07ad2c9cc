// The conditions that the answer, the budget and single plots are of: chosen beside the answer, the same everywhere.
function whereView() {
  const controls = document.getElementById("where");
  const said = document.getElementById("said");
  const others = document.querySelectorAll("#others > details");
  const heading = said.querySelector("h3");
  // What is said of each set of conditions, and where that stands while another is looked at.
  const texts = [said.querySelector("div"), ...[...others].map((one) => one.querySelector("div"))];
  let shown = 0;
  function view() {
    renewed(controls, conditionControls());
    const now = settingNow();
    if (now === undefined || now === shown || !heading) return;
    const [before, after] = [texts[shown], texts[now]];
    const place = document.createComment("");
    after.replaceWith(place);
    before.replaceWith(after);
    place.replaceWith(before);
    place.remove();
    heading.textContent = data.settings[now];
    [...others].forEach((one) => {
      const own = texts.findIndex((text) => text.parentElement === one);
      one.querySelector("summary").textContent = data.settings[own];
    });
    shown = now;
  }
  viewOfSelection(view);
}
