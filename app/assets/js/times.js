// Relative times (<time data-ago>) and timers (data-timer, stopped by data-end) in the page's language.
import { $$, lang } from './dom.js';

const format = new Intl.RelativeTimeFormat(lang, { numeric: 'auto', style: 'short' });
const STEPS = [[86400, 'day'], [3600, 'hour'], [60, 'minute']];

function relative(seconds) {
  const size = Math.abs(seconds);
  if (size < 45) return format.format(0, 'second');
  const [unit, name] = STEPS.find(([s]) => size >= s) ?? [60, 'minute'];
  return format.format(Math.round(seconds / unit) || Math.sign(seconds), name);
}

function clock(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const hours = Math.floor(s / 3600);
  const rest = `${String(Math.floor((s % 3600) / 60)).padStart(hours ? 2 : 1, '0')}:${String(s % 60).padStart(2, '0')}`;
  return hours ? `${hours}:${rest}` : rest;
}

export function tick() {
  const now = Date.now();
  for (const e of $$('time[data-ago]')) {
    const text = relative((new Date(e.dateTime) - now) / 1000);
    if (e.textContent === text) continue;
    e.textContent = text;
    e.title = new Date(e.dateTime).toLocaleString(lang);
  }
  for (const e of $$('[data-timer]')) {
    const text = clock(((e.dataset.end ? new Date(e.dataset.end) : now) - new Date(e.dataset.timer)) / 1000);
    if (e.textContent !== text) e.textContent = text;
  }
}

// Nobody reads the clock of a tab that is not seen.
let timer = 0;
function run() {
  clearInterval(timer);
  if (document.hidden) return;
  tick();
  timer = setInterval(tick, 1000);
}
run();
document.addEventListener('visibilitychange', run);
document.addEventListener('htmx:after:swap', tick);
