// Curves of usage: every [data-usage] has its values with it; data-again on their part means: once a minute anew.
import htmx from 'htmx.org';

import { $, $$, lang } from './dom.js';
import { axis, colour, day, dots, hour, number, plot, redrawn, times } from './plots.js';

const LINES = ['--acc', '--warn-d'];
const RATES = ['B/s', 'kB/s', 'MB/s', 'GB/s']; // as the server says them
const percent = new Intl.NumberFormat(lang, { style: 'percent', maximumFractionDigits: 1 });
const gib = new Intl.NumberFormat(lang, { maximumFractionDigits: 2 });
const SAID = {
  share: v => percent.format(v),
  bytes: v => `${gib.format(v / 2 ** 30)} GiB`,
  rate(v) {
    let step = 0;
    for (; v >= 1000 && step < RATES.length - 1; step++) v /= 1000;
    return `${number.format(v)} ${RATES[step]}`;
  },
};
const clock = new Intl.DateTimeFormat(lang, { hour: '2-digit', minute: '2-digit' });
// Memory is counted in powers of two: lines at 0.47 GiB would be lines at round decimal figures.
const HALVES = Array.from({ length: 20 }, (_, i) => 2 ** (26 + i));
const LEAST = { share: 0.05, bytes: 2 ** 20, rate: 1000 };

let plots = [];
function draw() {
  for (const old of plots) old.destroy();
  plots = $$('[data-usage]').map(place => {
    const { usage, names, values } = place.dataset;
    const said = SAID[usage];
    const labels = names.split('|');
    const data = JSON.parse(values);
    if (data.slice(1).every(curve => curve.every(v => v == null))) {
      place.replaceChildren(Object.assign(document.createElement('span'), { className: 'none' }));
      return null;
    }
    const when = data[0].at(-1) - data[0][0] > 86_400 ? day : clock;
    const total = usage === 'bytes'; // the second curve is what there is, a quiet line
    return plot(place, 150, {
      legend: { live: true },
      scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, Math.max(max * 1.08, LEAST[usage])] } },
      axes: [times(when), { ...axis(), size: 74, ...(total && { incrs: HALVES }), values: (_u, marks) => marks.map(said) }],
      series: [
        { label: place.closest('[data-time]')?.dataset.time ?? '', value: (_u, at) => (at == null ? '—' : hour.format(at * 1000)) },
        ...labels.map((label, i) => ({
          label,
          stroke: colour(total && i ? '--ink3' : LINES[i]),
          fill: i || labels.length > 1 && !total ? undefined : `${colour('--acc')}22`,
          width: total && i ? 1 : 2,
          points: dots(data[i + 1]),
          value: (_u, v) => (v == null ? '—' : said(v)),
        })),
      ],
    }, data);
  }).filter(Boolean);
}

redrawn(draw);
document.addEventListener('htmx:after:swap', () => {
  if ($$('[data-usage]').some(place => !place.hasChildNodes())) draw();
});
setInterval(() => {
  const part = $('[data-again]');
  if (!part || document.hidden || part.matches(':hover')) return;
  htmx.ajax('GET', part.dataset.liveSrc, { source: part, target: `#${part.id}`, swap: 'outerHTML', unasked: true });
}, 60_000);
draw();
