// Attachments of one person: thumbnails, which are kept as long as they are shown, and files.
import { Problem, type Api } from './api';

export class Files {
  #thumbnails = new Map<string, Promise<string>>();

  constructor(private readonly api: Api) {}

  /** The URL of a thumbnail, which the server makes soon after the upload. */
  thumbnail(attachment: string): Promise<string> {
    let url = this.#thumbnails.get(attachment);
    if (!url) {
      url = this.#fetch(attachment);
      this.#thumbnails.set(attachment, url);
      url.catch(() => this.#thumbnails.delete(attachment));
    }
    return url;
  }

  async #fetch(attachment: string): Promise<string> {
    for (let tries = 0; ; tries++) {
      try {
        return URL.createObjectURL(await (await this.api.download(attachment, { thumbnail: true })).blob());
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== 'thumbnail_pending' || tries > 20) throw error;
        await new Promise(resolve => setTimeout(resolve, 300 * (tries + 1)));
      }
    }
  }

  /** Forgets the thumbnail of an erased attachment. */
  drop(attachment: string): void {
    void this.#thumbnails.get(attachment)?.then(url => URL.revokeObjectURL(url), () => {});
    this.#thumbnails.delete(attachment);
  }

  dropAll(): void { for (const attachment of [...this.#thumbnails.keys()]) this.drop(attachment); }

  async file(attachment: string): Promise<Blob> { return (await this.api.download(attachment)).blob(); }
}
