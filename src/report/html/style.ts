// The style of a page, in it: it opens without a network, light or dark, on a telephone and on paper.

/** Text is at least 4.5 : 1 on its ground (WCAG 2.1 AA), in pictures, too. */
export const STYLE = `
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1f2328; --dim: #59636e; --line: #d1d9e0; --soft: #f6f8fa;
  --series-1: #0969da; --series-2: #bc4c00; --series-3: #8250df; --level: #59636e; --grid: #e4e8ec; --mark: #cf222e; --good: #1a7f37; --bad: #cf222e; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2.5rem auto; padding: 0 1.25rem; background: var(--ground); color: var(--ink); }
header { border-left: .5rem solid var(--verdict); padding: .25rem 1rem; margin-bottom: 1.25rem; }
.apart { margin-top: 4rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
header p { margin: 0; font-size: 1.15rem; overflow-wrap: anywhere; }
header .count { font-size: .95rem; margin-top: .25rem; color: var(--dim); }
header :is(h1, h2) { font-size: 1rem; font-weight: 600; margin: 0; color: var(--dim); overflow-wrap: anywhere; }
header b { color: var(--verdict); text-transform: uppercase; letter-spacing: .04em; }
h2, h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
summary { cursor: pointer; margin: 2rem 0 .5rem; } summary :is(h2, h3) { display: inline; }
.diagnosis { background: var(--soft); border-left: .5rem solid var(--verdict); padding: .6rem 1rem; margin: 0 0 1rem; }
.diagnosis dl { margin: 0; } .diagnosis dt { color: var(--ink); font-weight: 600; } .diagnosis .minor { color: var(--dim); font-weight: 400; }
.scroll { overflow-x: auto; }
:focus-visible { outline: 2px solid var(--series-1); outline-offset: 2px; }
a { color: var(--series-1); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1.25rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word; }
thead th { color: var(--dim); font-weight: 500; }
th, td { white-space: nowrap; } .prose { min-width: 10rem; white-space: normal; }
.right { text-align: right; }
.pass, .passed { --verdict: #1a7f37; } .fail, .failed, .error { --verdict: #cf222e; } .not-checked, .warning { --verdict: #9a6700; }
.done { --verdict: #0969da; }
.status { color: var(--verdict); font-weight: 600; white-space: nowrap; }
.notes { color: var(--dim); } .notes li { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 2rem 2.5rem; align-items: start; }
figure { margin: 0; } header ~ .plots .margin { max-width: 32rem; } figcaption { margin-bottom: .25rem; } figcaption strong { display: block; }
figure svg { width: 100%; height: auto; display: block; overflow: visible; }
figure p { margin: .35rem 0 0; color: var(--dim); font-size: .9rem; }
.key { white-space: nowrap; font-size: .9rem; margin-right: 1rem; } .key i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; background: var(--key); }
.key i.line { height: .2em; width: 1.2em; border-radius: 0; vertical-align: .25em; }
@media (max-width: 36rem) {
  body { margin: 1rem auto; padding: 0 .9rem; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } dt:empty { display: none; }
  .scroll:not(.checks) .prose { min-width: 22rem; }
  .checks thead { display: none; } .checks tr { display: block; padding: .35rem 0; border-bottom: 1px solid var(--line); }
  .checks tr > * { display: block; border: 0; padding: 0; white-space: normal; overflow-wrap: anywhere; }
}
@media print {
  :root { font-size: 9.5pt; }
  body { max-width: none; margin: 0; padding: 0; font-size: 1rem; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { overflow: visible; } table { width: 100%; } .scroll :is(th, td) { white-space: normal; overflow-wrap: anywhere; padding-right: .6rem; }
  header, .diagnosis, figure, tr, li, dt, dd { break-inside: avoid; } h2, h3, summary { break-after: avoid; } thead { display: table-header-group; }
  .plots { grid-template-columns: 1fr 1fr; gap: 1rem 1.5rem; } .apart { margin-top: 1.5rem; }
  details::details-content { content-visibility: visible; block-size: auto; } summary { list-style: none; }
}
@media screen and (prefers-color-scheme: dark) {
  :root { --ground: #121212; --ink: #e6edf3; --dim: #9ea7b3; --line: #3a4048; --soft: #1b1e23;
    --series-1: #58a6ff; --series-2: #f0883e; --series-3: #bc8cff; --level: #9ea7b3; --grid: #2a2f36; --mark: #ff7b72; --good: #3fb950; --bad: #ff7b72; }
  .pass, .passed { --verdict: #3fb950; } .fail, .failed, .error { --verdict: #ff7b72; } .not-checked, .warning { --verdict: #d29922; }
  .done { --verdict: #58a6ff; }
}
`;
