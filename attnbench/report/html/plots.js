// Plots of what is selected, drawn by Vega-Lite without eval.
const MOST_SERIES = 24;
const MOST_FACETS = 6;

// Numbers as the table prints them, so that a figure reads the same everywhere.
const cellTexts = [...(document.getElementById("rows")?.tBodies[0].rows || [])].map((line) => line.cells);
// Three significant digits, or one of the interval's half-width if that is more: as attnbench/metrics/printing.py has it.
function numbersOf(value, low, high) {
  const magnitude = (number, digits) => Number(Math.abs(number).toExponential(digits - 1).split("e")[1]);
  const width = (high - low) / 2;
  const ofValue = 2 - (value ? magnitude(value, 3) : 2);
  const decimals = Math.min(20, Math.max(ofValue, Math.min(width > 0 ? -magnitude(width, 1) : 0, ofValue + 2), 0));
  return [value.toFixed(decimals), low < high ? `[${low.toFixed(decimals)}, ${high.toFixed(decimals)}]` : ""];
}
function textOf(metric, row) {
  const cells = cellTexts[listedAt.get(row)];
  if (!cells) {
    const span = spanOf(metric, row);
    const [said, ends] = span ? numbersOf(span.value, span.low, span.high) : ["", ""];
    return [said, metric.unit, ends].filter(Boolean).join(" ");
  }
  const place = data.metrics.findIndex((one) => one.name === metric.name);
  const [number, ...interval] = cells[cells.length - 1 - data.metrics.length + place].textContent.trim().split(" ");
  return [number, metric.unit, ...interval].filter(Boolean).join(" ");
}
function statusOf(row) {
  const cells = cellTexts[listedAt.get(row)];
  return cells ? cells[cells.length - 1].textContent : data.rows.failures[row] || "ok";
}
const inkOf = (row) => data.labels[data.rows.label[row]].ink;
const nameOf = (row) => data.labels[data.rows.label[row]].name;
const axisOf = (metric) => `${metric.label}${metric.unit ? ` (${metric.unit})` : ""}`;

// A value with the ends of its interval, in the metric's unit; null where nothing can be shown on a logarithmic axis.
function spanOf(metric, row) {
  const { value, low, high } = data.values[metric.name];
  if (!(value[row] > 0)) return null;
  const sure = low && low[row] > 0 && low[row] <= value[row] && high[row] >= value[row];
  return { value: value[row] / metric.size, low: (sure ? low : value)[row] / metric.size, high: (sure ? high : value)[row] / metric.size };
}

// Whether something speaks against a value, so that it is crossed out and not ranked.
const doubts = Object.fromEntries(data.metrics.map((one) => [one.name, new Set(data.values[one.name].doubted)]));
const doubted = (metric, row) => doubts[metric.name].has(row);
const doubtOf = (...doubts) => (doubts.some(Boolean) ? "; not ranked" : "");

function withLooks(spec, labels) {
  const looks = labels.map((label) => data.labels[label]);
  const ranges = {
    color: looks.map((one) => one.color), shape: looks.map((one) => one.shape), dash: looks.map((one) => one.dash),
    fill: looks.map((one) => (one.filled ? one.color : "#ffffff")),
  };
  const filled = JSON.stringify(spec, (key, value) => (key === "scale" && value && value.look
    ? { domain: looks.map((one) => one.name), range: ranges[value.look] } : value));
  return JSON.parse(filled);
}

const settingsShown = () => data.settings.map((_, place) => place).filter((place) => chosen("setting", place));
const settingNow = () => (settingsShown().includes(state.setting) ? state.setting : settingsShown()[0]);

// Of more mechanisms than lines can be told apart the baseline and those that end lowest at the largest image.
function foremost(metric, rows) {
  const ends = new Map();
  for (const row of rows) {
    const [label, side, span] = [data.rows.label[row], data.sizes[data.rows.size[row]].side, spanOf(metric, row)];
    if (span && !(ends.get(label)?.side > side)) ends.set(label, { side, value: span.value });
  }
  const all = [...new Set(rows.map((row) => data.rows.label[row]))];
  if (all.length <= MOST_SERIES) return all;
  const rank = (label) => (data.labels[label].baseline ? [0, 0] : ends.has(label) ? [-ends.get(label).side, ends.get(label).value] : [1, 0]);
  const base = all.filter((label) => data.labels[label].baseline);
  const others = all.filter((label) => !base.includes(label)).sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1]);
  const kept = new Set([...base, ...others].slice(0, MOST_SERIES));
  return all.filter((label) => kept.has(label));
}

// What plots stand beside each other for: every set of conditions while they are few, else the values of one axis, all else alike.
const ALL = "all conditions";
function besideNow() {
  const offered = data.axes.filter((axis, at) => axis.values.length > 1 && state.axes[at].size !== 1).map((axis) => axis.name);
  const few = settingsShown().length <= 3;
  if (few) offered.unshift(ALL);
  return { offered, now: offered.includes(state.beside) ? state.beside : offered[0] };
}

function facetsNow() {
  const shown = settingsShown();
  const { now } = besideNow();
  const axis = data.axes.find((one) => one.name === now);
  if (!axis) return (now === ALL ? shown : [settingNow()].filter((one) => one !== undefined)).map((setting) => ({ setting, title: data.settings[setting] }));
  const at = data.axes.indexOf(axis);
  const values = [...axis.values.keys()].filter((value) => !state.axes[at].size || state.axes[at].has(value));
  if (axis.of === "label") return values.map((value) => ({ setting: settingNow(), only: (label) => axis.which[label] === value, title: axis.values[value] }));
  return values.map((value) => ({ setting: settingWith(at, value), title: axis.values[value] })).filter((one) => one.setting !== undefined);
}

// The set of conditions that has a value and else most in common with the one at hand, of the hardware first; undefined if none has it.
function settingWith(at, value) {
  const own = settingNow();
  const agreeing = (setting) => data.axes.reduce((sum, axis, other) => sum + (axis.of === "setting" && axis.which[setting] === axis.which[own] ? (other ? 1 : 1.5) : 0), 0);
  return settingsShown().filter((setting) => data.axes[at].which[setting] === value).sort((a, b) => agreeing(b) - agreeing(a) || a - b)[0];
}

const rowsOf = ({ setting, only }) => everyRow.filter((row) => data.rows.setting[row] === setting && passes(row) && (!only || only(data.rows.label[row])));

// The ends of a metric over plots that stand beside each other, so that they can be compared.
function endsOver(metric, facets) {
  let [low, high] = [Infinity, 0];
  for (const row of facets.flatMap(rowsOf)) {
    const span = spanOf(metric, row);
    if (span) { low = Math.min(low, span.low); high = Math.max(high, span.high); }
  }
  return high > 0 ? [low, high] : null;
}

function drawMetric(element, metric, facet, domain) {
  const rows = rowsOf(facet);
  const { title } = facet;
  const labels = foremost(metric, rows);
  const kept = rows.filter((row) => labels.includes(data.rows.label[row]));
  const sizes = [...new Set(kept.map((row) => data.rows.size[row]))];
  const points = kept.map((row) => ({ row, span: spanOf(metric, row) })).filter((one) => one.span);
  const datum = ({ row, span }) => ({ ...span, label: nameOf(row), side: data.sizes[data.rows.size[row]].side,
    shape: data.sizes[data.rows.size[row]].shape, doubted: doubted(metric, row),
    said: `${nameOf(row)} at ${data.sizes[data.rows.size[row]].name}: ${textOf(metric, row)}${doubtOf(doubted(metric, row))}` });
  const failed = kept.filter((row) => data.rows.status[row] !== "ok" && !spanOf(metric, row));
  const lanes = [...new Set(failed.map(nameOf))];
  const failure = (row) => ({ label: nameOf(row), ink: inkOf(row), side: data.sizes[data.rows.size[row]].side, status: data.rows.status[row],
    lane: -8 - 13 * lanes.indexOf(nameOf(row)), said: `${nameOf(row)} at ${data.sizes[data.rows.size[row]].name}: ${statusOf(row)}` });
  const failures = failed.map(failure);
  const named = lanes.map((label) => ({ ...failures.find((one) => one.label === label),
    said: `${label}: ${[...new Set(failures.filter((one) => one.label === label).map((one) => one.status))].join(", ")}` }));
  const figure = create("figure");
  const picture = create("div", { className: "picture" });
  const note = labels.length < new Set(rows.map((row) => data.rows.label[row])).size ? `; the ${labels.length} lowest` : "";
  figure.append(create("figcaption", { textContent: `${metric.title}${title ? `, ${title}` : ""}${note}` }), picture);
  element.replaceChildren(figure);
  if (!points.length) { picture.append("Nothing that is selected was measured."); return null; }
  const flat = sizes.length < 2;
  const key = labels.filter((label) => points.some(({ row }) => data.rows.label[row] === label));
  if (!flat) figure.append(create("p", { className: "key" }, ...key.map((label) => create("span", {}, swatch(label), ` ${data.labels[label].name}`))));
  const spec = withLooks(flat ? data.charts.dots : data.charts.curve, labels);
  const scale = spec.layer[0].layer;
  for (const { encoding } of scale) {
    const channel = encoding[flat ? "x" : "y"];
    channel.title = axisOf(metric);
    if (metric.learned) channel.scale = { zero: false, nice: false, padding: 14 };
    else channel.scale.base = metric.binary ? 2 : 10;
    if (domain) channel.scale.domain = domain;
    channel.axis = { format: "~r", tickCount: 6, labelOverlap: "greedy" };
  }
  const room = element.clientWidth || 480;
  spec.width = Math.max(160, room - (flat ? 190 : failed.length ? 200 : 90));
  const ordered = flat ? points.sort((a, b) => doubted(metric, a.row) - doubted(metric, b.row) || a.span.value - b.span.value) : points;
  return draw(picture, spec, { rows: ordered.map(datum), failures, lanes: named },
    `${metric.title}: ${new Set(points.map(({ row }) => nameOf(row))).size} mechanisms at ${sizes.map((size) => data.sizes[size].name).join(", ")}. The figures are in the table of all rows.`);
}

function plotsView() {
  const section = document.getElementById("plots");
  const first = document.getElementById("first-plot");
  const drawn = data.metrics.filter((one) => one.drawn);
  drawn.sort((a, b) => (b.name === "latency_median_s") - (a.name === "latency_median_s"));
  const note = create("p", { className: "faint" });
  const controls = create("p");
  const grid = create("div", { className: "grid" });
  section.append(controls, note, grid);
  let turn = 0;
  async function view() {
    turn += 1;
    const own = turn;
    const found = facetsNow();
    const facets = found.slice(0, MOST_FACETS);
    const more = found.length - facets.length;
    const { offered, now } = besideNow();
    renewed(controls, [...(offered.length > 1 ? [select("Beside each other", offered.map((one) => [one, one]), now, (value) => { state.beside = value; })] : []), ...(now === ALL ? [] : conditionControls(now))]);
    note.textContent = `Bands: 95 % intervals. Crosses above a plot: cells that did not run. Points crossed out: something speaks against them, they are not ranked.${more ? ` ${more} more of ${now}: choose them above.` : ""}`;
    const alike = new Map(facets.length > 1 ? drawn.map((metric) => [metric, endsOver(metric, facets)]) : []);
    const wanted = drawn.flatMap((metric) => facets.map((facet) => ({ facet, metric })));
    const frames = wanted.map((_, place) => grid.children[place] || grid.appendChild(create("div")));
    for (const frame of [...grid.children].slice(wanted.length)) frame.remove();
    for (const element of drawings.keys()) if (!element.isConnected) { drawings.get(element).finalize(); drawings.delete(element); }
    const latency = drawn.find((one) => one.name === "latency_median_s") || drawn[0];
    if (latency && settingNow() !== undefined) await drawMetric(first, latency, { setting: settingNow(), title: data.settings[settingNow()] });
    for (const [place, { facet, metric }] of wanted.entries()) {
      // A selection that has changed meanwhile has drawings of its own under way.
      if (own !== turn) return;
      await drawMetric(frames[place], metric, facet, alike.get(metric));
    }
    if (own === turn) document.body.dataset.drawn = own;
  }
  viewOfSelection(view, () => state.beside);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; view(); } });
}
