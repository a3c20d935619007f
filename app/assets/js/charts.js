// The dashboard's charts. Figures come from the server, colours from the theme; a table beside them has the same in words.
import uPlot from 'uplot';

import { $, $$, lang } from './dom.js';

const root = $('#charts');
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const LINES = { memory: ['--ink3', '--warn-d', '--acc'], disk: ['--ink3', '--acc'], results: ['--ok-d', '--bad-d', '--idle-d'], durations: ['--acc', '--warn-d'] };
const UNITS = { memory: ' GiB', disk: ' GiB', results: '', durations: ' s' };
const day = new Intl.DateTimeFormat(lang, { month: 'short', day: 'numeric' });
const hour = new Intl.DateTimeFormat(lang, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });
const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });

// Bars of one day stand on each other: the highest is drawn first.
const stacked = columns => columns.map((_, i) => columns[0].map((_value, at) => columns.slice(i).reduce((sum, column) => sum + column[at], 0)));

function shown(kind, { capacity, days }) {
  if (kind === 'memory') return [capacity.at, capacity.memory, capacity.memory_allocated, capacity.memory_used];
  if (kind === 'disk') return [capacity.at, capacity.disk, capacity.disk_used];
  if (kind === 'results') return [days.at, ...stacked([days.done, days.failed, days.given_up])];
  return [days.at, days.p50_s, days.p95_s];
}

const plots = [];
function draw(data) {
  for (const plot of plots.splice(0)) plot.destroy();
  for (const place of $$('[data-chart]', root)) {
    const kind = place.dataset.chart;
    const values = shown(kind, data);
    place.replaceChildren();
    if (!values[0].length || values.slice(1).every(column => column.every(v => !v))) {
      const note = document.createElement('p');
      note.className = 'muted pad';
      note.textContent = root.dataset.none;
      place.append(note);
      continue;
    }
    const names = place.dataset.names.split('|');
    const bars = kind === 'results';
    const own = { results: [data.days.done, data.days.failed, data.days.given_up] }[kind];
    const time = kind === 'memory' || kind === 'disk' ? hour : day;
    const axis = { stroke: colour('--ink2'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '11px Inter, sans-serif' };
    plots.push(new uPlot({
      width: place.clientWidth,
      height: 190,
      cursor: { points: { size: 6 } },
      scales: { x: { time: true, range: (_u, min, max) => (bars ? [min - 43_200, max + 43_200] : [min, max]) }, y: { range: (_u, _min, max) => [0, max * 1.08 || 1] } },
      axes: [
        { ...axis, values: (_u, marks) => marks.map(at => day.format(at * 1000)), space: 70 },
        { ...axis, size: 72, values: (_u, marks) => marks.map(v => `${number.format(v)}${UNITS[kind]}`) },
      ],
      series: [
        { label: root.dataset.time, value: (_u, at) => (at == null ? '—' : time.format(at * 1000)) },
        ...names.map((label, i) => ({
          label,
          stroke: colour(LINES[kind][i]),
          fill: bars ? colour(LINES[kind][i]) : undefined,
          width: bars ? 0 : 2,
          paths: bars ? uPlot.paths.bars({ size: [0.7, 18] }) : undefined,
          points: { show: kind === 'durations', size: 5 },
          spanGaps: true,
          value: (_u, v, _series, at) => (v == null ? '—' : `${number.format(own && at != null ? own[i][at] : v)}${UNITS[kind]}`),
        })),
      ],
    }, values, place));
  }
}

let last = null;
async function fetched() {
  const answer = await fetch(root.dataset.src, { headers: { Accept: 'application/json' } });
  if (answer.ok) draw(last = await answer.json());
}

const again = () => last && draw(last);
new MutationObserver(again).observe(document.documentElement, { attributeFilter: ['data-bs-theme'] });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
let waits = 0;
addEventListener('resize', () => {
  clearTimeout(waits);
  waits = setTimeout(again, 150);
});
// Hours change slowly; a page left open all day stays true.
setInterval(() => document.hidden || fetched(), 300_000);
fetched();
