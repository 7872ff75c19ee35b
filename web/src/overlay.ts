// Boxes over a picture.
import type { Box } from './events';
import { h, text } from './dom';

export class Overlay {
  readonly element = h('div', { class: 'boxes', 'aria-hidden': 'true' });

  constructor(private readonly video: HTMLVideoElement) {}

  /** Shows boxes. Late ones belong to a picture before the one that is shown. */
  draw(boxes: Box[], late: boolean): void {
    const { element, video } = this;
    element.classList.toggle('late', late);
    while (element.children.length > boxes.length) element.lastElementChild!.remove();
    while (element.children.length < boxes.length) element.append(h('div', {}, h('span')));
    if (!boxes.length) return;
    // The picture is as large as fits, in the middle.
    const { clientWidth: w, clientHeight: height } = video;
    const scale = Math.min(w / (video.videoWidth || 16), height / (video.videoHeight || 9));
    const [pw, ph] = [scale * (video.videoWidth || 16), scale * (video.videoHeight || 9)];
    boxes.forEach((b, i) => {
      const e = element.children[i] as HTMLElement;
      e.style.left = `${(w - pw) / 2 + b.x * pw}px`;
      e.style.top = `${(height - ph) / 2 + b.y * ph}px`;
      e.style.width = `${b.w * pw}px`;
      e.style.height = `${b.h * ph}px`;
      text(e.firstElementChild!, b.label ?? '');
    });
  }
}
