// The boxes over the pictures of one camera, live and past.
import { renditions } from './api';
import type { Rendition } from './camera';
import type { Clock } from './pace';
import type { Rewind } from './rewind';
import type { Screen } from './screen';
import { Recall, Watcher } from './watcher';

const refresh = 5000; // ms between two looks at what renditions there are

export class Boxes {
  private readonly watcher: Watcher;
  private readonly recall: Recall;
  private readonly timer: ReturnType<typeof setInterval>;
  private frame = 0;
  private ended = false;

  /** past shows the past of the camera. got is told its renditions, and the names of those with data, again and again. */
  constructor(private readonly camera: string, private readonly screen: Screen, past: Rewind, clock: Clock, private readonly got: (all: Rendition[], data: string[]) => void) {
    this.watcher = new Watcher(camera, () => this.draw());
    let shown: number | undefined; // the time of the past picture
    const drawPast = () => { if (shown !== undefined) past.overlay.draw(this.ended ? [] : this.recall.at(shown), false); };
    this.recall = new Recall(camera, clock, drawPast);
    past.pictured = (time) => {
      shown = time;
      drawPast();
    };
    this.look();
    this.timer = setInterval(() => { if (!document.hidden) this.look(); }, refresh);
    this.everyPicture();
  }

  destroy(): void {
    this.ended = true;
    clearInterval(this.timer);
    this.screen.video.cancelVideoFrameCallback?.(this.frame);
    this.watcher.follow([]);
    this.recall.follow([], 0);
  }

  private look(): void {
    renditions(this.camera).then((all) => {
      if (this.ended) return;
      const data = all.filter((r) => r.role === 'data'), names = data.map((r) => r.name);
      const going = data.filter((r) => r.behind_s !== null || r.processor); // the archive alone has the others
      this.watcher.follow(going.map((r) => r.name));
      this.recall.follow(names, Math.max(0, ...going.map((r) => r.behind_s ?? Infinity)));
      this.got(all, names);
    }, () => undefined); // egress is away: the next look may find it
  }

  /** Draws the boxes of each picture that is shown. */
  private everyPicture(): void {
    const { video } = this.screen;
    if (this.ended || !('requestVideoFrameCallback' in video)) return;
    this.frame = video.requestVideoFrameCallback((_, { mediaTime }) => {
      this.draw(mediaTime);
      this.everyPicture();
    });
  }

  private draw(mediaTime = this.screen.video.currentTime): void {
    const { player, video, overlay } = this.screen;
    const shown = player.shown();
    const { boxes, late } = shown === null || this.ended ? { boxes: [], late: false } : this.watcher.at(shown + 1000 * (mediaTime - video.currentTime));
    overlay.draw(boxes, late);
  }
}
