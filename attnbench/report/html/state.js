// What is selected, the same for every view and kept in the address's fragment.
const everyRow = data.rows.label.map((_, row) => row);
const views = [];
const state = { hidden: new Set(), sizes: new Set(), axes: data.axes.map(() => new Set()), failures: true, text: "",
  columns: new Set(), sort: "", limits: new Map(), size: -1, setting: 0, goal: "", across: "", up: "", beside: "" };
const listedAt = new Map(data.rows.listed.map((row, line) => [row, line]));

// Whether the values of a set of conditions, or of a mechanism, are among those chosen; none chosen is all.
const chosen = (of, place) => data.axes.every((axis, at) => axis.of !== of || !state.axes[at].size || state.axes[at].has(axis.which[place]));

// A row passes if no filter keeps it out; what nothing is chosen of lets everything in.
let passing = [];
const passes = (row) => passing[row];
function selectRows() {
  const { label, size, setting, status } = data.rows;
  const text = state.text.toLowerCase();
  const labels = data.labels.map((one, place) => !state.hidden.has(place) && chosen("label", place) && one.name.toLowerCase().includes(text));
  const settings = data.settings.map((_, place) => chosen("setting", place));
  passing = everyRow.map((row) => labels[label[row]] && settings[setting[row]]
    && (!state.sizes.size || state.sizes.has(size[row])) && (state.failures || status[row] === "ok"));
}

// What is selected, as a text: a view that shows nothing else is not made anew while that is the same.
const selected = () => JSON.stringify([[...state.hidden], [...state.sizes], state.axes.map((each) => [...each]), state.failures, state.text, state.setting]);
function viewOfSelection(view, more = () => "") {
  let last;
  views.push(() => { const now = selected() + more(); if (now !== last) { last = now; view(); } });
}

function changed() {
  const found = new URLSearchParams();
  for (const label of state.hidden) found.append("hide", data.labels[label].name);
  for (const size of state.sizes) found.append("res", data.sizes[size].name);
  data.axes.forEach((axis, at) => state.axes[at].forEach((value) => found.append(`with.${axis.name}`, axis.values[value])));
  for (const column of state.columns) found.append("without", column);
  for (const [metric, limit] of state.limits) found.append(`most.${metric}`, limit);
  if (!state.failures) found.set("failures", "no");
  if (state.text) found.set("name", state.text);
  if (state.sort) found.set("sort", state.sort);
  for (const choice of ["goal", "across", "up", "beside"]) if (state[choice]) found.set(choice, state[choice]);
  if (state.size >= 0) found.set("at", data.sizes[state.size].name);
  if (state.setting) found.set("under", data.settings[state.setting]);
  const text = found.toString();
  selectRows();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  for (const view of views) view();
}

// Names in an address that this page does not have are passed over.
function readFragment() {
  const found = new URLSearchParams(location.hash.slice(1));
  const places = (key, names) => new Set(found.getAll(key).map((name) => names.indexOf(name)).filter((at) => at >= 0));
  state.hidden = places("hide", data.labels.map((one) => one.name));
  state.sizes = places("res", data.sizes.map((one) => one.name));
  state.axes = data.axes.map((axis) => places(`with.${axis.name}`, axis.values));
  state.columns = new Set(found.getAll("without"));
  state.failures = found.get("failures") !== "no";
  state.text = found.get("name") || "";
  state.sort = found.get("sort") || "";
  for (const choice of ["goal", "across", "up", "beside"]) state[choice] = found.get(choice) || "";
  state.size = data.sizes.findIndex((one) => one.name === found.get("at"));
  state.setting = Math.max(0, data.settings.indexOf(found.get("under")));
  state.limits = new Map(data.metrics.filter((one) => Number(found.get(`most.${one.name}`)) > 0)
    .map((one) => [one.name, Number(found.get(`most.${one.name}`))]));
  selectRows();
}

function checkbox(text, checked, changes, ...before) {
  const box = create("input", { type: "checkbox", checked });
  box.addEventListener("change", () => { changes(box.checked); changed(); });
  return create("label", {}, box, ...before, " ", text);
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function toggle(set, value, there) {
  if (there) set.add(value); else set.delete(value);
}

const SVG = "http://www.w3.org/2000/svg";
const OUTLINES = {
  circle: "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z", square: "M-.9,-.9H.9V.9H-.9Z", diamond: "M0,-1L1,0L0,1L-1,0Z",
  "triangle-up": "M0,-1L1,.8L-1,.8Z", "triangle-down": "M0,1L1,-.8L-1,-.8Z",
  "triangle-left": "M-1,0L.8,-1L.8,1Z", "triangle-right": "M1,0L-.8,-1L-.8,1Z",
  cross: "M-1,-.35H-.35V-1H.35V-.35H1V.35H.35V1H-.35V.35H-1Z",
};

// The line and marker by which plots show a mechanism.
function swatch(label) {
  const look = data.labels[label];
  const picture = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "line");
  const marker = document.createElementNS(SVG, "path");
  const set = (element, values) => Object.entries(values).forEach(([name, value]) => element.setAttribute(name, value));
  set(picture, { width: 34, height: 12, viewBox: "0 0 34 12", "aria-hidden": "true", class: "swatch" });
  set(line, { x1: 0, x2: 34, y1: 6, y2: 6, stroke: look.color, "stroke-width": 2, "stroke-dasharray": look.dash.join(" ") });
  set(marker, { d: OUTLINES[look.shape] || look.shape, transform: "translate(17 6) scale(4.5)", stroke: look.color,
    "stroke-width": 0.35, fill: look.filled ? look.color : "#fff" });
  picture.append(line, marker);
  return picture;
}

function selectionView() {
  const section = document.getElementById("selection");
  function group(name, ...children) {
    return create("fieldset", {}, create("legend", { textContent: name }), ...children);
  }
  function view() {
    const focused = [...section.querySelectorAll("input, button")].indexOf(document.activeElement);
    const all = create("button", { type: "button", textContent: "all" });
    const none = create("button", { type: "button", textContent: "none" });
    all.addEventListener("click", () => { state.hidden = new Set(); changed(); });
    none.addEventListener("click", () => { state.hidden = new Set(data.labels.keys()); changed(); });
    section.replaceChildren(group("Mechanisms", ...data.labels.map((one, label) =>
      checkbox(one.name, !state.hidden.has(label), (on) => toggle(state.hidden, label, !on), swatch(label))), all, none));
    const choices = (name, names, set) => names.length > 1 && section.append(group(`${name} (none chosen: all)`,
      ...names.map((each, place) => checkbox(each, set.has(place), (on) => toggle(set, place, on)))));
    choices("Resolutions", data.sizes.map((one) => one.name), state.sizes);
    data.axes.forEach((axis, at) => choices(capital(axis.name), axis.values, state.axes[at]));
    section.append(group("Cells", checkbox("with those that did not run", state.failures, (on) => { state.failures = on; })));
    if (focused >= 0) section.querySelectorAll("input, button")[focused].focus();
  }
  views.push(view);
}
