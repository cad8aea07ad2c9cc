// What every page has: its data, elements, and plots drawn by Vega-Lite without eval.
const data = JSON.parse(document.getElementById("data").textContent);
const drawings = new Map();

function create(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function draw(element, spec, datasets, description) {
  const compiled = vegaLite.compile({ ...spec, description, datasets, autosize: { type: "pad" }, background: null },
    { config: data.charts.config }).spec;
  drawings.get(element)?.finalize();
  const view = new vega.View(vega.parse(compiled, null, { ast: true }),
    { expr: vegaInterpreter.expressionInterpreter, renderer: "svg", container: element, logLevel: vega.Error });
  drawings.set(element, view);
  return view.runAsync().then(() => scrollable(element, description));
}

// What is wider than its place scrolls, and then the keyboard must reach it; what a picture shows is said in any case.
function scrollable(element, description) {
  if (element.scrollWidth > element.clientWidth) element.tabIndex = 0; else element.removeAttribute("tabindex");
  element.setAttribute("role", "graphics-document");
  element.setAttribute("aria-label", description);
}
