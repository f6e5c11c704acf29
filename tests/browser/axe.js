// Lists the violations of WCAG 2 that axe-core finds.
async () => {
  const { violations } = await axe.run({ runOnly: ["wcag2a", "wcag2aa"] });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html.slice(0, 90)} ${node.failureSummary}`));
}
