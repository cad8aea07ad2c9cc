// The table of all rows: sorted by a click on a heading, filtered by the selection, its columns chosen.
const MOST_LINES = 1000;
const lines = [...(document.getElementById("rows")?.tBodies[0].rows || [])];
const lineMade = new Map();
const setsOf = (key) => Object.fromEntries(data.metrics.map((one) => [one.name, new Set(data.values[one.name][key])]));
const marks = { best: setsOf("best"), second: setsOf("second") };

// The line of a row: the file's own, or for what the file does not list one made when it is asked for.
function lineOf(row) {
  if (listedAt.has(row)) return lines[listedAt.get(row)];
  if (!lineMade.has(row)) {
    const { size, setting } = data.rows;
    const entry = (metric) => {
      const { value, low, high } = data.values[metric.name];
      if (value[row] === null) return create("td", { textContent: "–" });
      const sure = low && low[row] !== null && high[row] !== null;
      const [said, ends] = numbersOf(...[value, sure ? low : value, sure ? high : value].map((each) => each[row] / metric.size));
      const marked = marks.best[metric.name].has(row) ? create("b", { textContent: said }) : marks.second[metric.name].has(row) ? create("u", { textContent: said }) : said;
      return create("td", {}, marked, ...(ends ? [" ", create("i", { textContent: ends })] : []));
    };
    const failure = data.rows.failures[row];
    const name = create("th", { textContent: nameOf(row) });
    name.scope = "row";
    lineMade.set(row, create("tr", {}, name, create("td", { textContent: data.sizes[size[row]].name }),
      ...(data.settings.length > 1 ? [create("td", { textContent: data.settings[setting[row]] })] : []), ...data.metrics.map(entry),
      create("td", {}, failure ? create("span", { className: "bad", textContent: failure.length > 100 ? `${failure.slice(0, 100)}...` : failure }) : "ok")));
  }
  return lineMade.get(row);
}

function tableView() {
  const table = document.getElementById("rows");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const leading = heads.length - data.metrics.length - 1;
  const keys = [...["mechanism", "resolution", "conditions"].slice(0, leading), ...data.metrics.map((one) => one.name), "status"];
  // Which columns are hidden is a rule, not a property of ten thousand cells.
  const columnsHidden = new CSSStyleSheet();
  document.adoptedStyleSheets = [columnsHidden];

  function valueOf(key, row) {
    const { label, size, setting, status } = data.rows;
    if (key === "mechanism") return data.labels[label[row]].name;
    if (key === "resolution") return data.sizes[size[row]].side;
    if (key === "conditions") return data.settings[setting[row]];
    return key === "status" ? status[row] : data.values[key].value[row];
  }

  // What was not measured stands last whichever way is sorted.
  const collator = new Intl.Collator("en", { numeric: true });
  function compare(key, way, one, other) {
    const [a, b] = [valueOf(key, one), valueOf(key, other)];
    if (a === null || b === null) return (a === null) - (b === null) || one - other;
    const order = typeof a === "string" ? collator.compare(a, b) : a - b;
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

  let sorted = everyRow;
  let applied = "";
  let there = "";
  function view() {
    const key = state.sort.replace(/^-/, "");
    if (applied !== state.sort) {
      sorted = keys.includes(key) ? [...everyRow].sort((a, b) => compare(key, state.sort[0] === "-" ? -1 : 1, a, b)) : everyRow;
      applied = state.sort;
    }
    heads.forEach((head, column) => {
      if (keys[column] === key) head.setAttribute("aria-sort", state.sort[0] === "-" ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const passing = sorted.filter(passes);
    const shown = passing.slice(0, MOST_LINES);
    if (there !== shown.join()) body.replaceChildren(...shown.map(lineOf));
    there = shown.join();
    const cut = passing.length > shown.length ? `; the first ${shown.length} are shown, a selection or another order has others` : "";
    count.textContent = `${passing.length} of ${everyRow.length} rows${cut}`;
    if (search !== document.activeElement) search.value = state.text;
    const hidden = keys.flatMap((name, column) => (column && state.columns.has(name) ? [`#rows tr > :nth-child(${column + 1})`] : []));
    columnsHidden.replaceSync(hidden.length ? `${hidden.join(", ")} { display: none; }` : "");
    const focused = [...columns.querySelectorAll("input")].indexOf(document.activeElement);
    columns.replaceChildren(create("fieldset", {}, create("legend", { textContent: "Columns" }),
      ...keys.slice(1).map((name, place) => checkbox(heads[place + 1].textContent.trim(), !state.columns.has(name),
        (on) => toggle(state.columns, name, !on)))));
    if (focused >= 0) columns.querySelectorAll("input")[focused].focus();
  }
  views.push(view);
}
