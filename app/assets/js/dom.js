// Shorthands, and the page's sentences: scripts hold none, they come from <template id="t-i18n">.
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export const lang = document.documentElement.lang || 'en';

const sentences = {};
for (const item of $('#t-i18n')?.content.children ?? []) sentences[item.dataset.k] = item.textContent;

/** A sentence by its key, with {name} places filled in. */
export const say = (key, args = {}) => (sentences[key] ?? '').replace(/\{(\w+)\}/g, (_, name) => args[name] ?? '');

export const csrf = () => $('meta[name=csrf-token]')?.content ?? '';

/** Listen to events of the stream. */
export const on = (type, handler) => document.addEventListener(`tpm:${type}`, e => handler(e.detail));

/** Call `fn` at most once per `wait` milliseconds, the last call included. */
export function throttle(fn, wait) {
  let timer = 0;
  let last = 0;
  return () => {
    if (timer) return;
    timer = setTimeout(() => {
      timer = 0;
      last = Date.now();
      fn();
    }, Math.max(0, wait - (Date.now() - last)));
  };
}

/** Wait until the browser has a network: what is asked without one is only a fault on the console. */
export const connected = () => (navigator.onLine ? Promise.resolve() : new Promise(done => addEventListener('online', done, { once: true })));
