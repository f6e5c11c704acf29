// Typeset what arithmatex marked, on each page that Material shows.
document$.subscribe(({ body }) => {
  for (const node of body.querySelectorAll(".arithmatex")) {
    renderMathInElement(node, {
      delimiters: [
        { left: "\\[", right: "\\]", display: true },
        { left: "\\(", right: "\\)", display: false },
      ],
      throwOnError: true,
    });
  }
});
