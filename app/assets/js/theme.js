// Light and dark: switched in place, kept in a cookie so that the server renders the right one.
import { $ } from './dom.js';

$('#theme-form')?.addEventListener('submit', e => {
  e.preventDefault();
  const next = document.documentElement.dataset.bsTheme === 'dark' ? 'light' : 'dark';
  document.documentElement.dataset.bsTheme = next;
  $('#theme-form').elements.theme.value = next === 'dark' ? 'light' : 'dark';
  document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=lax`;
});
