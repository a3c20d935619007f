// The dashboard's charts. Figures come from the server, colours from the theme; a table beside them has the same in words.
import { $, $$ } from './dom.js';
import { axis, bars as standing, colour, day, dots, hour, number, plot, redrawn, times } from './plots.js';

const root = $('#charts');
const LINES = { memory: ['--ink3', '--warn-d', '--acc'], disk: ['--ink3', '--acc'], results: ['--ok-d', '--bad-d', '--idle-d'], durations: ['--acc', '--warn-d'] };
// What there is to be seen, also while nearly nothing is there yet.
const SPAN = 30 * 86_400;
const WHOLE = [1, 2, 5].flatMap(v => [1, 10, 100, 1000, 10_000].map(ten => v * ten)).sort((a, b) => a - b);
const UNITS = { memory: ' GiB', disk: ' GiB', results: '', durations: ' s' };

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
  for (const old of plots.splice(0)) old.destroy();
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
    const [first, end] = [values[0][0], values[0].at(-1)];
    const own = { results: [data.days.done, data.days.failed, data.days.given_up] }[kind];
    const time = kind === 'memory' || kind === 'disk' ? hour : day;
    plots.push(plot(place, 190, {
      scales: { x: { time: true, range: () => (bars ? [first - 43_200, end + 43_200] : [Math.min(first, end - SPAN), end]) }, y: { range: (_u, _min, max) => [0, max * 1.08 || 1] } },
      axes: [
        times(day),
        { ...axis(), size: 72, ...(bars && { incrs: WHOLE }), values: (_u, marks) => marks.map(v => `${number.format(v)}${UNITS[kind]}`) },
      ],
      series: [
        { label: root.dataset.time, value: (_u, at) => (at == null ? '—' : time.format(at * 1000)) },
        ...names.map((label, i) => ({
          label,
          stroke: colour(LINES[kind][i]),
          fill: bars ? colour(LINES[kind][i]) : undefined,
          width: bars ? 0 : 2,
          paths: bars ? standing({ size: [0.7, 18] }) : undefined,
          points: kind === 'durations' ? { show: true, size: 5 } : dots(values[i + 1]),
          spanGaps: true,
          value: (_u, v, _series, at) => (v == null ? '—' : `${number.format(own && at != null ? own[i][at] : v)}${UNITS[kind]}`),
        })),
      ],
    }, values));
  }
}

let last = null;
async function fetched() {
  const answer = await fetch(root.dataset.src, { headers: { Accept: 'application/json' } });
  if (answer.ok) draw(last = await answer.json());
}

redrawn(() => last && draw(last));
// Hours change slowly; a page left open all day stays true.
setInterval(() => document.hidden || fetched(), 300_000);
fetched();
