// Typeset what arithmatex marked, on each page that Material shows, and let keys scroll wide tables. A display that is too wide for
// the page is broken at each \qquad and \allowbreak, and if that is not enough, it is set in a smaller size.
const sources = new WeakMap();

function typeset(node) {
  if (!sources.has(node)) sources.set(node, node.textContent.trim());
  const source = sources.get(node);
  const tex = source.slice(2, -2);
  const displayMode = source.startsWith("\\[");
  const isTooWide = () => displayMode && node.scrollWidth > node.clientWidth;
  const options = { displayMode, throwOnError: true };
  node.style.fontSize = "";
  katex.render(tex, node, options);
  const lines = tex.split(/\\qquad|\\allowbreak/);
  if (isTooWide() && lines.length > 1) {
    const gathered = lines.join("\\\\[0.4em]");
    katex.render(`\\begin{gathered}${gathered}\\end{gathered}`, node, options);
  }
  for (let size = 0.95; isTooWide() && size >= 0.5; size -= 0.05) {
    node.style.fontSize = `${size}em`;
  }
}

function makeFocusable(table) {
  table.tabIndex = table.scrollWidth > table.clientWidth ? 0 : -1;
}

function adapt() {
  document.querySelectorAll(".arithmatex").forEach(typeset);
  document.querySelectorAll(".md-typeset__scrollwrap").forEach(makeFocusable);
}
document$.subscribe(() => {
  adapt();
  document.fonts.ready.then(adapt); // the fonts change the widths
});
window.addEventListener("resize", adapt);
