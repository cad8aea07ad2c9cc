// Who is on the Pareto front of two metrics, who perhaps is, and who certainly is not.
const ORDER = ["on it", "perhaps on it", "not on it"];
const OPACITY = { "on it": 1, "perhaps on it": 0.75, "not on it": 0.35 };

// Both ends so turned that lower is better.
function costOf(metric, row) {
  const span = spanOf(metric, row);
  if (!span || data.rows.status[row] !== "ok" || doubted(metric, row)) return null;
  return metric.better < 0 ? { ...span, best: -span.high, worst: -span.low } : { ...span, best: span.low, worst: span.high };
}

function placesOn(points) {
  const surely = (a, b) => a.x.worst <= b.x.best && a.y.worst <= b.y.best && (a.x.worst < b.x.best || a.y.worst < b.y.best);
  const maybe = (a, b) => a.x.best <= b.x.worst && a.y.best <= b.y.worst && (a.x.best < b.x.worst || a.y.best < b.y.worst);
  return points.map((own) => {
    const others = points.filter((one) => one !== own);
    if (others.some((one) => surely(one, own))) return ORDER[2];
    return ORDER[others.some((one) => maybe(one, own)) ? 1 : 0];
  });
}

const limited = () => data.metrics.filter((one) => one.limited && data.values[one.name].value.some((value) => value > 0));
const sizesThere = () => [...new Set(everyRow.filter((row) => data.rows.setting[row] === settingNow() && passes(row)).map((row) => data.rows.size[row]))];

// The resolution that was asked for, else the largest at which two cells or more ended ok.
function sizeNow() {
  const there = sizesThere();
  if (there.includes(state.size)) return state.size;
  const ok = (size) => everyRow.filter((row) => data.rows.size[row] === size && data.rows.status[row] === "ok" && data.rows.setting[row] === settingNow() && passes(row));
  return [...there].reverse().find((size) => ok(size).length > 1) ?? Math.max(...there, -1);
}

function select(name, options, chosen, changes) {
  const box = create("select");
  options.forEach(([value, text]) => box.append(create("option", { value, textContent: text, selected: String(value) === String(chosen) })));
  box.addEventListener("change", () => { changes(box.value); changed(); });
  return create("label", {}, `${name} `, box);
}

function whereControls() {
  const sizes = sizesThere();
  return [
    select("Resolution", sizes.map((size) => [size, data.sizes[size].name]), sizeNow(), (value) => { state.size = Number(value); }),
    ...conditionControls(),
  ];
}

// A choice for each axis of conditions but one: of values that are there, whatever the others are.
function conditionControls(but = "") {
  const now = settingNow();
  if (now === undefined) return [];
  const shown = settingsShown();
  return data.axes.flatMap((axis, at) => {
    const there = axis.of === "setting" && axis.name !== but ? [...axis.values.keys()].filter((value) => shown.some((setting) => axis.which[setting] === value)) : [];
    return there.length > 1 ? [select(capital(axis.name), there.map((value) => [value, axis.values[value]]), axis.which[now],
      (value) => { state.setting = settingWith(at, Number(value)); })] : [];
  });
}

// Whatever had the focus before its controls were made anew has it again.
function renewed(element, children) {
  const boxes = () => [...element.querySelectorAll("select, input")];
  const focused = boxes().indexOf(document.activeElement);
  element.replaceChildren(...children);
  if (focused >= 0) boxes()[focused]?.focus();
}

function frontView() {
  const offered = limited();
  if (offered.length < 2) return;
  const section = document.getElementById("plots");
  const controls = create("p");
  const words = create("p");
  const picture = create("div", { className: "picture front" });
  section.append(create("h3", { textContent: "Pareto front" }), controls, words, picture);
  const across = offered.find((one) => one.name === "latency_median_s") || offered[0];
  const up = offered.find((one) => one.learned) || offered.find((one) => one.binary) || offered.find((one) => one !== across);
  const chosen = (choice, usual) => offered.find((one) => one.name === state[choice]) || usual;
  async function view() {
    const [x, y, size] = [chosen("across", across), chosen("up", up), sizeNow()];
    const choices = offered.map((one) => [one.name, one.label]);
    renewed(controls, [select("Across", choices, x.name, (value) => { state.across = value; }),
      select("Up", choices, y.name, (value) => { state.up = value; }), ...whereControls()]);
    const points = everyRow.filter((row) => data.rows.setting[row] === settingNow() && data.rows.size[row] === size && passes(row))
      .map((row) => ({ row, x: costOf(x, row), y: costOf(y, row) })).filter((one) => one.x && one.y);
    const places = placesOn(points);
    const who = (place) => points.filter((_, at) => places[at] === place).map(({ row }) => nameOf(row)).join(", ");
    words.textContent = `On the front: ${who(ORDER[0]) || "nobody for certain"}. ${who(ORDER[1]) ? `Perhaps on it, as far as 95 % intervals say: ${who(ORDER[1])}.` : ""}`;
    if (!points.length) { picture.textContent = "Nobody that is selected has both."; return; }
    picture.textContent = "";
    const spec = withLooks(data.charts.front, [...new Set(points.map(({ row }) => data.rows.label[row]))]);
    spec.width = Math.max(160, Math.min(760, (section.clientWidth || 700) - 220));
    const rows = points.map(({ row, x: a, y: b }, at) => ({ label: nameOf(row), ink: inkOf(row), place: places[at], opacity: OPACITY[places[at]], x: a.value, x_low: a.low, x_high: a.high,
      y: b.value, y_low: b.low, y_high: b.high, said: `${nameOf(row)}: ${textOf(x, row)}, ${textOf(y, row)}; ${places[at]}` }));
    const axes = { x, y };
    const filled = JSON.parse(JSON.stringify(spec), (key, value) => {
      if ((key === "x" || key === "y") && value.scale) {
        const metric = axes[key];
        value.title = axisOf(metric);
        value.scale = metric.learned ? { zero: false, nice: false, padding: 20 } : { ...value.scale, base: metric.binary ? 2 : 10 };
        value.axis = { format: "~r", tickCount: 6, labelOverlap: "greedy" };
      }
      return value;
    });
    await draw(picture, filled, { rows }, `${y.label} against ${x.label} at ${data.sizes[size].name}. ${words.textContent}`);
  }
  viewOfSelection(view, () => [state.across, state.up, state.size].join());
}
