// Toasts: seven seconds, paused on hover and focus, at most three; errors stay until they are closed.
import { $, say } from './dom.js';

const MOST = 3;

/** Show a sentence; `kind` is info, success, warning or error. */
export function toast(kind, text, link = '') {
  const box = $('#toasts');
  if (!box || !text) return;
  const node = $('#t-toast').content.firstElementChild.cloneNode(true);
  arm(node, kind);
  $('.dot', node).classList.add(`k-${kind}`);
  $('b', node).textContent = text;
  const a = $('a', node);
  if (link) {
    a.href = link;
    a.textContent = say('open');
  } else {
    a.remove();
  }
  box.append(node);
  // The oldest goes; an error only when there is nothing else.
  while (box.children.length > MOST) ($(':scope > :not([role=alert])', box) ?? box.firstElementChild).remove();
}

function arm(node, kind) {
  $('button', node).addEventListener('click', () => node.remove());
  if (kind === 'error') {
    node.setAttribute('role', 'alert');
    return;
  }
  let timer = 0;
  const start = () => {
    timer = setTimeout(() => node.remove(), 7000);
  };
  const hold = () => clearTimeout(timer);
  node.addEventListener('mouseenter', hold);
  node.addEventListener('focusin', hold);
  node.addEventListener('mouseleave', start);
  node.addEventListener('focusout', start);
  start();
}

// What the former request had to say is rendered into the page as <template class="flash">.
for (const flash of document.querySelectorAll('template.flash')) {
  toast(flash.dataset.kind, flash.content.textContent, flash.dataset.link);
}
