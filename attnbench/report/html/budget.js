// The best that fits a budget, the runner-up, the row that proves it, and what would change the answer.
function budgetView() {
  const section = document.getElementById("budget");
  const metrics = limited();
  if (!metrics.length) { section.remove(); return; }
  const controls = create("div", { className: "budget" });
  const words = create("div");
  words.setAttribute("role", "status");
  section.append(create("p", { className: "faint", textContent: "Give limits; empty is none. The answer is among the mechanisms selected above." }), controls, words);
  const goals = () => metrics.filter((one) => one.better);
  const goalNow = () => goals().find((one) => one.name === state.goal) || goals().find((one) => one.name === "latency_median_s") || goals()[0];
  const atMost = (metric) => metric.better > 0;

  const reach = new Map(metrics.map((metric) => {
    const values = data.values[metric.name].value.filter((value) => value > 0).map((value) => value / metric.size);
    return [metric, [Math.log(Math.min(...values) * 0.9), Math.log(Math.max(...values) * 1.1)]];
  }));

  function limitControl(metric) {
    const [low, high] = reach.get(metric);
    const number = create("input", { type: "number", min: 0, step: "any", value: state.limits.get(metric.name) ?? "" });
    const name = `${atMost(metric) ? "at most" : "at least"} ${axisOf(metric)}`;
    const slider = create("input", { type: "range", min: 0, max: 200, value: atMost(metric) ? 200 : 0 });
    const place = (limit) => Math.round(200 * (Math.log(limit) - low) / (high - low));
    if (state.limits.has(metric.name)) slider.value = place(state.limits.get(metric.name));
    slider.setAttribute("aria-label", `${name}, slider`);
    const set = (limit) => { if (limit > 0) state.limits.set(metric.name, limit); else state.limits.delete(metric.name); changed(); };
    number.addEventListener("change", () => set(Number(number.value)));
    slider.addEventListener("input", () => {
      const off = Number(slider.value) === (atMost(metric) ? 200 : 0);
      set(off ? 0 : Number(Math.exp(low + (high - low) * slider.value / 200).toPrecision(3)));
    });
    return create("div", {}, create("label", {}, `${name} `, number), slider);
  }

  // Whether a row keeps a limit: yes, no, or open where its interval holds the limit.
  function keeps(metric, row, limit) {
    const span = spanOf(metric, row);
    if (!span) return "unknown";
    const [near, far] = atMost(metric) ? [span.low, span.high] : [-span.high, -span.low];
    const bound = atMost(metric) ? limit : -limit;
    if (far <= bound) return "yes";
    return near > bound ? "no" : (atMost(metric) ? span.value : -span.value) <= bound ? "perhaps" : "no, as measured";
  }

  const link = (row) => create("a", { href: "#rows", textContent: `row ${row + 1}`, onclick: (event) => {
    event.preventDefault();
    const line = lineOf(row);
    if (!line.isConnected) document.getElementById("rows").tBodies[0].prepend(line);
    line.scrollIntoView({ block: "center" });
    line.classList.add("shown");
    setTimeout(() => line.classList.remove("shown"), 3000);
  } });
  const strong = (text) => create("b", { textContent: text });

  function said(goal, rows, limits) {
    const judged = rows.map((row) => ({ row, kept: limits.map(([metric, limit]) => keeps(metric, row, limit)) }));
    const fits = judged.filter((one) => one.kept.every((each) => each === "yes" || each === "perhaps"));
    const order = (a, b) => costOf(goal, a.row).value - costOf(goal, b.row).value;
    const ranked = fits.filter((one) => costOf(goal, one.row)).sort((a, b) => goal.better * order(a, b));
    if (!ranked.length) return [create("p", {}, strong("None fits. "), nearest(judged, limits)), ...changesOf(goal, judged, limits, null)];
    const [best, next] = ranked;
    const perhaps = limits.filter((_, at) => best.kept[at] === "perhaps").map(([metric]) => metric.label);
    const lines = [create("p", {}, strong(nameOf(best.row)), ` fits with the ${goal.better > 0 ? "lowest" : "highest"} ${goal.label}: ${textOf(goal, best.row)} (`, link(best.row), ").",
      perhaps.length ? ` Its 95 % interval reaches past the limit of ${perhaps.join(" and ")}: it fits as measured, not for certain.` : "")];
    if (next) {
      const [one, other] = [costOf(goal, best.row), costOf(goal, next.row)];
      const sure = one.worst < other.best;
      lines.push(create("p", {}, "Runner-up: ", strong(nameOf(next.row)), `, ${textOf(goal, next.row)} (`, link(next.row), "); ",
        sure ? "the order is certain: their intervals are apart." : "the order is not certain: their intervals overlap."));
    } else {
      lines.push(create("p", { textContent: "No other fits." }));
    }
    return [...lines, ...changesOf(goal, judged, limits, best.row)];
  }

  function nearest(judged, limits) {
    const excess = ({ row }) => Math.max(...limits.map(([metric, limit]) => {
      const span = spanOf(metric, row);
      return span ? (atMost(metric) ? span.value / limit : limit / span.value) : Infinity;
    }));
    const [one] = [...judged].filter((each) => excess(each) < Infinity).sort((a, b) => excess(a) - excess(b));
    return one ? create("span", {}, "Nearest: ", strong(nameOf(one.row)), `, off by ${((excess(one) - 1) * 100).toPrecision(2)} % (`, link(one.row), ").") : "Nothing that is selected was measured by all of these.";
  }

  // Which limit, let alone, would let a better one in; and when the best itself would go.
  function changesOf(goal, judged, limits, best) {
    const found = [];
    limits.forEach(([metric, limit], at) => {
      const others = judged.filter((one) => one.row !== best && costOf(goal, one.row)
        && one.kept.every((each, place) => place === at || each === "yes" || each === "perhaps") && !["yes", "perhaps"].includes(one.kept[at])
        && spanOf(metric, one.row)
        && (best === null || goal.better * (costOf(goal, one.row).value - costOf(goal, best).value) < 0));
      const near = (one) => Math.abs(Math.log(spanOf(metric, one.row).value / limit));
      const [one] = others.sort((a, b) => near(a) - near(b));
      if (one) found.push(`with ${atMost(metric) ? "at most" : "at least"} ${textOf(metric, one.row)} of ${metric.label}, ${nameOf(one.row)} would ${best === null ? "fit" : "be the best"}`);
      if (best !== null) found.push(`with ${metric.label} ${atMost(metric) ? "below" : "above"} ${textOf(metric, best)}, ${nameOf(best)} would no longer fit`);
    });
    return found.length ? [create("p", { textContent: "What would change the answer:" }), create("ul", {}, ...found.map((each) => create("li", { textContent: `${each}.` })))] : [];
  }

  function view() {
    const size = sizeNow();
    renewed(controls, [create("p", {}, select("Best by", goals().map((one) => [one.name, one.label]), goalNow().name, (value) => { state.goal = value; }),
      " ", ...whereControls()), ...metrics.map(limitControl)]);
    const rows = everyRow.filter((row) => data.rows.setting[row] === settingNow() && data.rows.size[row] === size
      && data.rows.status[row] === "ok" && passes(row));
    const limits = metrics.filter((one) => state.limits.has(one.name)).map((one) => [one, state.limits.get(one.name)]);
    words.replaceChildren(...(rows.length ? said(goalNow(), rows, limits) : [create("p", { textContent: "Nothing that is selected ended ok here." })]));
  }
  views.push(view);
}
