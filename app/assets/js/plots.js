// What all charts have in common: colours of the theme, the reader's numbers, and a new drawing when theme or width change.
import uPlot from 'uplot';

import { lang } from './dom.js';

export const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });
export const day = new Intl.DateTimeFormat(lang, { month: 'short', day: 'numeric' });
export const hour = new Intl.DateTimeFormat(lang, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });

export const axis = () => ({ stroke: colour('--ink2'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '11px Inter, sans-serif' });

/** The line of time below a picture: as high as its text. */
export const times = said => ({ ...axis(), size: 28, space: 70, values: (_u, marks) => marks.map(at => said.format(at * 1000)) });

/** Points of their own, where so few values make no line. */
export const dots = column => ({ show: column.filter(v => v != null).length < 3, size: 5 });

/** Put a picture in its place; `options` beside size and looks are uPlot's. */
export function plot(place, height, options, values) {
  place.replaceChildren();
  const { paddingLeft, paddingRight } = getComputedStyle(place);
  const width = place.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  return new uPlot({ width, height, padding: [10, 20, 0, 0], cursor: { points: { size: 6 } }, ...options }, values, place);
}

/** Call `draw` when what is drawn has to look otherwise. */
export function redrawn(draw) {
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ['data-bs-theme'] });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  let waits = 0;
  addEventListener('resize', () => {
    clearTimeout(waits);
    waits = setTimeout(draw, 150);
  });
}

export const { bars } = uPlot.paths;
