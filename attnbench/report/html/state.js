// What is selected, the same for every view and kept in the address's fragment.
const everyRow = data.rows.label.map((_, row) => row);
const views = [];
const state = { hidden: new Set(), sizes: new Set(), settings: new Set(), failures: true, text: "",
  columns: new Set(), sort: "", limits: new Map(), size: -1, setting: 0, goal: "", across: "", up: "" };

// A row passes if no filter keeps it out; sizes and settings without a choice let everything in.
function passes(row) {
  const { label, size, setting, status } = data.rows;
  return !state.hidden.has(label[row])
    && (!state.sizes.size || state.sizes.has(size[row]))
    && (!state.settings.size || state.settings.has(setting[row]))
    && (state.failures || status[row] === "ok")
    && (!state.text || data.labels[label[row]].name.toLowerCase().includes(state.text.toLowerCase()));
}

function changed() {
  const found = new URLSearchParams();
  for (const label of state.hidden) found.append("hide", data.labels[label].name);
  for (const size of state.sizes) found.append("res", data.sizes[size].name);
  for (const setting of state.settings) found.append("with", data.settings[setting]);
  for (const column of state.columns) found.append("without", column);
  for (const [metric, limit] of state.limits) found.append(`most.${metric}`, limit);
  if (!state.failures) found.set("failures", "no");
  if (state.text) found.set("name", state.text);
  if (state.sort) found.set("sort", state.sort);
  for (const choice of ["goal", "across", "up"]) if (state[choice]) found.set(choice, state[choice]);
  if (state.size >= 0) found.set("at", data.sizes[state.size].name);
  if (state.setting) found.set("under", data.settings[state.setting]);
  const text = found.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  for (const view of views) view();
}

// Names in an address that this page does not have are passed over.
function readFragment() {
  const found = new URLSearchParams(location.hash.slice(1));
  const places = (key, names) => new Set(found.getAll(key).map((name) => names.indexOf(name)).filter((at) => at >= 0));
  state.hidden = places("hide", data.labels.map((one) => one.name));
  state.sizes = places("res", data.sizes.map((one) => one.name));
  state.settings = places("with", data.settings);
  state.columns = new Set(found.getAll("without"));
  state.failures = found.get("failures") !== "no";
  state.text = found.get("name") || "";
  state.sort = found.get("sort") || "";
  for (const choice of ["goal", "across", "up"]) state[choice] = found.get(choice) || "";
  state.size = data.sizes.findIndex((one) => one.name === found.get("at"));
  state.setting = Math.max(0, data.settings.indexOf(found.get("under")));
  state.limits = new Map(data.metrics.filter((one) => Number(found.get(`most.${one.name}`)) > 0)
    .map((one) => [one.name, Number(found.get(`most.${one.name}`))]));
}

function checkbox(text, checked, changes, ...before) {
  const box = create("input", { type: "checkbox", checked });
  box.addEventListener("change", () => { changes(box.checked); changed(); });
  return create("label", {}, box, ...before, " ", text);
}

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
    choices("Conditions", data.settings, state.settings);
    section.append(group("Cells", checkbox("with those that did not run", state.failures, (on) => { state.failures = on; })));
    if (focused >= 0) section.querySelectorAll("input, button")[focused].focus();
  }
  views.push(view);
}
