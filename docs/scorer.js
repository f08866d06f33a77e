// How the search ranks its results: as Sphinx does, but pages for contributors and auditors come last.
const LAST = new Set(["api", "benchmarks", "changelog", "contributing", "layout", "platform", "proof", "tried"]);

var Scorer = {
  score: ([page, , , , score]) => (LAST.has(page) ? score - 100 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
