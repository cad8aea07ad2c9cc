// What calls attained under what the machine could do at most, of the conditions chosen for the Pareto front.
function rooflineView() {
  const found = data.roofline;
  if (!found.roofs.some(Boolean)) return;
  const section = document.getElementById("plots");
  const words = create("p", { className: "faint" });
  const picture = create("div", { className: "picture roofline" });
  const key = create("p", { className: "key" });
  section.append(create("h3", { textContent: "Roofline" }), words, picture, key);

  async function view() {
    const roof = found.roofs[settingNow()];
    const rows = everyRow.filter((row) => data.rows.setting[row] === settingNow() && found.rate[row] && passes(row));
    picture.textContent = "";
    key.replaceChildren();
    if (!roof || !rows.length) { words.textContent = "Nothing that is selected has a place under a roof that was measured."; return; }
    words.textContent = "The line is what the machine was measured to reach at most: memory on the slope, products on the level part. "
      + (roof.conditions ? `It is ${roof.conditions}.` : "");
    const labels = [...new Set(rows.map((row) => data.rows.label[row]))].slice(0, MOST_SERIES);
    const points = rows.filter((row) => labels.includes(data.rows.label[row])).map((row) => ({
      label: nameOf(row), side: data.sizes[data.rows.size[row]].side, intensity: found.intensity[row],
      rate: found.rate[row] / found.size, low: found.low[row] / found.size, high: found.high[row] / found.size,
      said: `${nameOf(row)} at ${data.sizes[data.rows.size[row]].name}: ${(found.rate[row] / found.size).toPrecision(3)} ${found.unit}, ${Math.round(100 * found.rate[row] / Math.min(roof.rate, found.intensity[row] * roof.bandwidth))} % of the roof${doubtOf(found.doubted[row])}`,
      doubted: found.doubted[row],
    }));
    const ridge = roof.rate / roof.bandwidth;
    const across = [Math.min(ridge / 6, ...points.map((one) => one.intensity / 2)), ridge, Math.max(ridge * 2, ...points.map((one) => one.intensity * 2))];
    const line = across.map((intensity, at) => ({ intensity, rate: Math.min(roof.rate, intensity * roof.bandwidth) / found.size,
      said: at === 1 ? `${roof.dtype}: ${(roof.rate / found.size).toPrecision(3)} ${found.unit}; memory: ${(roof.bandwidth / 1e9).toPrecision(3)} GB/s` : "" }));
    const spec = withLooks(data.charts.roofline, labels);
    spec.width = Math.max(160, Math.min(760, (section.clientWidth || 700) - 220));
    const filled = JSON.parse(JSON.stringify(spec), (name, value) => {
      if (name === "y" && value.axis) value.title = `multiply-adds attained (${found.unit})`;
      return value;
    });
    key.append(...labels.map((label) => create("span", {}, swatch(label), ` ${data.labels[label].name}`)));
    await draw(picture, filled, { rows: points, roof: line },
      `Roofline of ${labels.length} mechanisms under ${(roof.rate / found.size).toPrecision(3)} ${found.unit}. ${points.map((one) => one.said).slice(0, 12).join("; ")}`);
  }
  viewOfSelection(view);
}
