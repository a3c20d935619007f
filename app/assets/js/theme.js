// Light and dark: what the system says until somebody switches; switched in place, kept in a cookie so that the server renders the right one.
import { $ } from './dom.js';

const shown = () => {
  const { bsTheme } = document.documentElement.dataset;
  return bsTheme === 'auto' ? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light') : bsTheme;
};

$('#theme-form')?.addEventListener('submit', e => {
  e.preventDefault();
  const next = shown() === 'dark' ? 'light' : 'dark';
  document.documentElement.dataset.bsTheme = next;
  $('#theme-form').elements.theme.value = next === 'dark' ? 'light' : 'dark';
  document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=lax`;
});
