// A figure of a cell over time, drawn when it comes into sight.
const CROSS = "M-1,-1L1,1M-1,1L1,-1";
const choice = { metric: data.metrics[0].name, text: "", changed: false };
const MACHINES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#4B0055", "#56B4E9", "#656565"];

const shownCells = () => data.cells.filter((cell) => cell.metric === choice.metric
  && (!choice.changed || cell.changes?.length || cell.lines.some((line) => line.changes.length))
  && cell.name.toLowerCase().includes(choice.text.toLowerCase()));

function specOf(cell, width) {
  const metric = data.metrics.find((one) => one.name === cell.metric);
  const points = cell.lines.flatMap((line) => line.at.map((at, place) => ({
    at, value: line.value[place] / metric.size, low: line.low[place] / metric.size, high: line.high[place] / metric.size,
    machine: data.machines[line.machine],
    said: `${data.revisions[at].name}, ${data.revisions[at].day}: ${(line.value[place] / metric.size).toPrecision(4)} ${metric.unit}, ${data.machines[line.machine]}` })));
  const levels = cell.lines.flatMap((line) => line.levels.map((one) => ({ from: one[0], to: one[1], value: one[2] / metric.size })));
  const failures = (cell.failed || []).map(([at, said]) => ({ at, said: `${data.revisions[at].name}, ${data.revisions[at].day}: ${said}` }));
  const changes = [...cell.lines.flatMap((line) => line.changes), ...(cell.changes || [])].map(([at, worse, said]) => ({ at, color: worse ? "#A61B1B" : "#1A6B2C", said }));
  const machines = [...new Set(cell.lines.map((line) => line.machine))];
  const color = { field: "machine", type: "nominal", legend: null,
    scale: { domain: machines.map((one) => data.machines[one]), range: machines.map((one) => MACHINES[one % MACHINES.length]) } };
  const days = JSON.stringify(data.revisions.map((one) => one.day));
  return [{
    height: 170, width: Math.max(160, width - 90),
    encoding: { x: { field: "at", type: "quantitative", scale: { domain: [-0.5, data.revisions.length - 0.5], nice: false },
      axis: { title: null, labelExpr: `${days}[datum.value] || ''`, tickMinStep: 1, tickCount: 5, labelOverlap: "greedy", grid: false } } },
    layer: [
      { data: { name: "changes" }, mark: { type: "rule", strokeWidth: 1.5, aria: false }, encoding: { color: { field: "color", type: "nominal", scale: null }, tooltip: { field: "said", type: "nominal" } } },
      { data: { name: "failures" }, mark: { type: "point", shape: CROSS, size: 50, strokeWidth: 2, color: "#A61B1B", aria: false },
        encoding: { y: { value: -8 }, tooltip: { field: "said", type: "nominal" } } },
      { data: { name: "levels" }, mark: { type: "rule", color: "#777777", strokeWidth: 2, aria: false }, encoding: { x: { field: "from", type: "quantitative" }, x2: { field: "to" }, y: { field: "value", type: "quantitative" } } },
      { data: { name: "points" }, encoding: { color },
        layer: [
          { mark: { type: "rule", opacity: 0.5 }, encoding: { y: { field: "low", type: "quantitative" }, y2: { field: "high" } } },
          { mark: { type: "point", filled: true, size: 16, opacity: 1 }, encoding: { y: { field: "value", type: "quantitative" }, tooltip: { field: "said", type: "nominal" } } } ] },
    ],
    resolve: { scale: { y: "shared" } },
  }, { points, levels, changes, failures }, metric];
}

function show(frame, cell) {
  const picture = frame.querySelector(".picture");
  const [spec, sets, metric] = specOf(cell, frame.clientWidth || 480);
  const y = { type: "quantitative", title: `${metric.label}${metric.unit ? ` (${metric.unit})` : ""}`,
    scale: { zero: false, nice: false, padding: 10 }, axis: { format: "~r", tickCount: 5, labelOverlap: "greedy" } };
  spec.layer[2].encoding.y = { ...y, field: "value" };
  spec.layer[3].layer[0].encoding.y = { ...y, field: "low" };
  spec.layer[3].layer[1].encoding.y = { ...y, field: "value" };
  return draw(picture, spec, sets, `${metric.label} of ${cell.name} over ${sets.points.length} runs${sets.failures.length ? `; ${sets.failures.length} did not run` : ""}`).then(() => { frame.dataset.drawn = "yes"; });
}

const grid = document.getElementById("grid");
const status = create("p", { className: "faint" });
status.setAttribute("role", "status");
const cellOf = new Map();
// Only what is in sight is drawn: a page of thousands of runs opens as fast as one of ten. On paper all is in sight.
const waiting = new Set();
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) if (isIntersecting) drawOnce(target);
}, { rootMargin: "200px" });

function drawOnce(frame) {
  sight.unobserve(frame);
  if (waiting.delete(frame)) show(frame, cellOf.get(frame));
}

addEventListener("beforeprint", () => [...waiting].forEach(drawOnce));

function renew() {
  for (const view of drawings.values()) view.finalize();
  drawings.clear(); cellOf.clear(); sight.disconnect(); waiting.clear();
  const cells = shownCells();
  grid.replaceChildren(...cells.map((cell) => {
    const machines = [...new Set(cell.lines.map((line) => line.machine))];
    const key = create("p", { className: "key" }, ...machines.map((one) => {
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [name, value] of Object.entries({ width: 12, height: 12, "aria-hidden": "true", class: "swatch" })) dot.setAttribute(name, value);
      for (const [name, value] of Object.entries({ cx: 6, cy: 6, r: 4, fill: MACHINES[one % MACHINES.length] })) circle.setAttribute(name, value);
      dot.append(circle);
      return create("span", {}, dot, ` ${data.machines[one] || "all machines"}`);
    }));
    const picture = create("div", { className: "picture" });
    picture.style.minHeight = "200px";
    const frame = create("div", {}, create("figure", {}, create("figcaption", { textContent: cell.name }), picture, key));
    cellOf.set(frame, cell);
    return frame;
  }));
  for (const frame of grid.children) { waiting.add(frame); sight.observe(frame); }
  const all = data.cells.filter((cell) => cell.metric === choice.metric).length;
  status.textContent = `${cells.length} of ${all} cells`;
}

const metrics = create("select", {}, ...data.metrics.map((one) => create("option", { value: one.name, textContent: one.label })));
metrics.addEventListener("change", () => { choice.metric = metrics.value; renew(); });
const search = create("input", { type: "search" });
search.addEventListener("input", () => { choice.text = search.value; renew(); });
const changed = create("input", { type: "checkbox" });
changed.addEventListener("change", () => { choice.changed = changed.checked; renew(); });
document.getElementById("controls").append(create("label", {}, "Figure ", metrics), create("label", {}, "Cells whose name has ", search),
  create("label", {}, changed, " only those that changed"), status);
renew();
