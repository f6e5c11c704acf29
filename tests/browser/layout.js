// Lists what is cut off, is not typeset, or has no text or image on the page.
() => {
  const problems = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) problems.push("wider than the window");
  const shown = (selector) =>
    [...document.querySelectorAll(selector)].filter((node) => node.offsetParent !== null);
  const isCutOff = (node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth > 0;
  const isScrollable = (node) => getComputedStyle(node).overflowX === "auto";
  for (const node of shown(".md-content .arithmatex, .md-content pre > code"))
    if (isCutOff(node)) problems.push(`cut off: ${node.textContent.trim().slice(0, 80)}`);
  for (const node of shown(".md-content .md-typeset__scrollwrap"))
    if (isCutOff(node) && (width > 1000 || !isScrollable(node)))
      problems.push(`cut off: table ${node.textContent.trim().slice(0, 60)}`);
  for (const node of shown(".md-content .arithmatex"))
    if (!node.querySelector(".katex") || node.querySelector(".katex-error"))
      problems.push(`not typeset: ${node.textContent}`);
  for (const node of shown(".md-content img"))
    if (!node.alt || !node.naturalWidth) problems.push(`no text, or no image: ${node.src}`);
  return problems;
}
