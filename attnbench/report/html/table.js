// The table of all rows: sorted by a click on a heading, filtered by the selection, its columns chosen.
function tableView() {
  const table = document.getElementById("rows");
  if (!table) return;
  const body = table.tBodies[0];
  const lines = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const leading = heads.length - data.metrics.length - 1;
  const keys = [...["mechanism", "resolution", "conditions"].slice(0, leading), ...data.metrics.map((one) => one.name), "status"];

  function valueOf(key, row) {
    const { label, size, setting, status } = data.rows;
    if (key === "mechanism") return data.labels[label[row]].name;
    if (key === "resolution") return data.sizes[size[row]].side;
    if (key === "conditions") return data.settings[setting[row]];
    return key === "status" ? status[row] : data.values[key].value[row];
  }

  // What was not measured stands last whichever way is sorted.
  function compare(key, way, one, other) {
    const [a, b] = [valueOf(key, one), valueOf(key, other)];
    if (a === null || b === null) return (a === null) - (b === null) || one - other;
    const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return way * order || one - other;
  }

  heads.forEach((head, column) => {
    const button = create("button", { type: "button" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      state.sort = state.sort === keys[column] ? `-${keys[column]}` : keys[column];
      changed();
    });
  });

  const controls = document.getElementById("table-controls");
  const search = create("input", { type: "search", value: state.text });
  search.addEventListener("input", () => { state.text = search.value; changed(); });
  const columns = create("span");
  const count = create("p", { className: "faint" });
  count.setAttribute("role", "status");
  controls.append(create("label", {}, "Mechanisms whose name has ", search), columns, count);

  let applied = "";
  function view() {
    const key = state.sort.replace(/^-/, "");
    if (applied !== state.sort) {
      const order = keys.includes(key) ? [...everyRow].sort((a, b) => compare(key, state.sort[0] === "-" ? -1 : 1, a, b)) : everyRow;
      body.append(...order.map((row) => lines[row]));
      applied = state.sort;
    }
    heads.forEach((head, column) => {
      if (keys[column] === key) head.setAttribute("aria-sort", state.sort[0] === "-" ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    everyRow.forEach((row) => { lines[row].hidden = !passes(row); });
    count.textContent = `${everyRow.filter(passes).length} of ${everyRow.length} rows`;
    if (search !== document.activeElement) search.value = state.text;
    keys.forEach((name, column) => {
      if (column) [table.tHead.rows[0], ...lines].forEach((line) => { line.cells[column].hidden = state.columns.has(name); });
    });
    const focused = [...columns.querySelectorAll("input")].indexOf(document.activeElement);
    columns.replaceChildren(create("fieldset", {}, create("legend", { textContent: "Columns" }),
      ...keys.slice(1).map((name, place) => checkbox(heads[place + 1].textContent.trim(), !state.columns.has(name),
        (on) => toggle(state.columns, name, !on)))));
    if (focused >= 0) columns.querySelectorAll("input")[focused].focus();
  }
  views.push(view);
}
