// The dialogs that add and remove a camera.
import { Refusal, addCamera, removeCamera } from './api';
import type { Camera } from './camera';
import { h, show, text } from './dom';
import * as format from './format';
import { title } from './model';

export function field(label: string, input: HTMLElement, hint = ''): HTMLElement {
  const id = 'field-' + label.toLowerCase().replace(/[^a-z]+/g, '-');
  input.id = id;
  const parts: Node[] = [h('label', { for: id }, label), input];
  if (hint) {
    input.setAttribute('aria-describedby', id + '-hint');
    parts.push(h('small', { id: id + '-hint' }, hint));
  }
  return h('div', { class: 'field' }, ...parts);
}

function check(label: string): [HTMLElement, HTMLInputElement] {
  const box = h('input', { type: 'checkbox' });
  return [h('label', { class: 'check' }, box, label), box];
}

export function open(dialog: HTMLDialogElement): void {
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** Runs act when a form is sent, and shows an error in the form. */
export function submits(form: HTMLFormElement, go: HTMLButtonElement, problem: HTMLElement, act: () => Promise<unknown>, done: () => void): void {
  form.addEventListener('submit', (e) => {
    e.preventDefault();
    go.disabled = true;
    show(problem, false);
    act().then(done, (err: unknown) => {
      const r = err instanceof Refusal ? err : new Refusal(String(err), '', 0);
      problem.replaceChildren(h('strong', {}, sentence(r.message)), ...(r.remedy ? [h('span', {}, sentence(r.remedy))] : []));
      show(problem, true);
    }).finally(() => { go.disabled = false; });
  });
}

const sentence = (s: string) => s.charAt(0).toUpperCase() + s.slice(1) + (/[.!?]$/.test(s) ? '' : '.');

export function addDialog(added: (id: string) => void): void {
  const label = h('input', { autocomplete: 'off', maxlength: '100', placeholder: 'Front door' });
  const id = h('input', { autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', required: true, maxlength: '63', pattern: '[a-z0-9][a-z0-9\\-]*', placeholder: 'front-door', title: 'Lower-case letters, digits and dashes, not beginning with a dash' });
  const url = h('input', { autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', required: true, inputmode: 'url', placeholder: 'rtsp://user:password@10.0.0.5:554/stream1' });
  const substream = h('input', { autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', inputmode: 'url', placeholder: 'rtsp://user:password@10.0.0.5:554/stream2' });
  const transport = h('select', {},
    h('option', { value: '' }, 'TCP, then UDP'), h('option', { value: 'tcp' }, 'TCP only'), h('option', { value: 'udp' }, 'UDP only'));
  const engine = h('select', {},
    h('option', { value: '' }, 'As ingest is configured'), h('option', { value: 'gstreamer' }, 'GStreamer'), h('option', { value: 'native' }, 'Native'));
  const [noAudioLabel, noAudio] = check('Leave the sound out');
  const [insecureLabel, insecure] = check('Take any TLS certificate (rtsps)');
  let typed = false;
  label.addEventListener('input', () => { if (!typed) id.value = format.slug(label.value); });
  id.addEventListener('input', () => { typed = id.value !== ''; });

  const problem = h('div', { class: 'problem', role: 'alert', hidden: true });
  const go = h('button', { class: 'primary', type: 'submit' }, 'Add camera');
  const form = h('form', {},
    h('h2', { id: 'add-title' }, 'Add a camera'),
    field('Label', label),
    field('Id', id, 'Names it in URLs and topics, and never changes.'),
    field('URL', url, 'A password is kept in a file on the server and not shown again.'),
    h('details', {}, h('summary', {}, 'More'), field('Second stream', substream, 'The URL of a smaller picture, which the wall shows.'), field('Transport', transport), field('Engine', engine, 'What speaks RTSP with the camera.'), noAudioLabel, insecureLabel),
    problem,
    h('div', { class: 'buttons' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'), go));
  const dialog = h('dialog', { 'aria-labelledby': 'add-title' }, form);
  submits(form, go, problem, () => addCamera(id.value, {
    url: url.value.trim(), substream: substream.value.trim(), label: label.value.trim(), transport: transport.value, engine: engine.value, no_audio: noAudio.checked, insecure_tls: insecure.checked,
  }), () => {
    dialog.close();
    added(id.value);
  });
  open(dialog);
  label.focus();
}

export function removeDialog(camera: Camera, removed: () => void): void {
  const problem = h('div', { class: 'problem', role: 'alert', hidden: true });
  const go = h('button', { class: 'danger solid', type: 'submit' }, 'Remove');
  const cancel = h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel');
  const name = h('strong');
  text(name, title(camera));
  const form = h('form', {},
    h('h2', { id: 'remove-title' }, 'Remove this camera?'),
    h('p', {}, name, ' stops recording at once and is shown no more. What is recorded stays in Kafka until it expires.'),
    problem,
    h('div', { class: 'buttons' }, cancel, go));
  const dialog = h('dialog', { 'aria-labelledby': 'remove-title' }, form);
  submits(form, go, problem, () => removeCamera(camera.id), () => {
    dialog.close();
    removed();
  });
  open(dialog);
  cancel.focus();
}
