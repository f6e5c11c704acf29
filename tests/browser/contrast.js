// Lists the texts with less contrast than WCAG 2 asks for at level AA.
() => {
  const channels = (color) => {  // red, green, blue in [0, 255], and opacity
    const [r, g, b, opacity = 1] = color.match(/[\d.]+(e-\d+)?/g).map(Number);
    return [...[r, g, b].map((c) => (color.startsWith("color(srgb") ? 255 * c : c)), opacity];
  };
  const over = ([r, g, b, opacity], below) =>
    [r, g, b].map((c, i) => opacity * c + (1 - opacity) * below[i]);
  const luminance = (color) => color.map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const layers = new Map([[null, { below: [255, 255, 255], opacity: 1 }]]);
  const layer = (node) => {  // the color behind a node's text, and the opacity of the text
    if (!layers.has(node)) {
      const parent = layer(node.parentElement);
      const style = getComputedStyle(node);
      const below = over(channels(style.backgroundColor), parent.below);
      layers.set(node, { below, opacity: parent.opacity * style.opacity });
    }
    return layers.get(node);
  };
  const problems = new Set();
  for (const node of document.body.querySelectorAll(":not(svg *, .katex-mathml *)")) {
    const text = [...node.childNodes].filter(({ nodeType }) => nodeType === 3)
      .map(({ data }) => data.trim()).join("");
    const visible = { opacityProperty: true, visibilityProperty: true };
    if (!text || !node.checkVisibility(visible)) continue;
    const { below, opacity } = layer(node);
    const style = getComputedStyle(node);
    const [r, g, b, alpha] = channels(style.color);
    const [low, high] = [over([r, g, b, alpha * opacity], below), below].map(luminance)
      .sort((x, y) => x - y);
    const contrast = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize) * (style.fontWeight >= 700 ? 24 / 18.66 : 1);
    if (contrast < (size >= 24 ? 3 : 4.5) - 0.005)
      problems.add(`contrast ${contrast.toFixed(2)}: <${node.localName} class="${node.className}">`
        + ` ${style.color} on ${below.map(Math.round)} ${text.slice(0, 40)}`);
  }
  return [...problems];
}
