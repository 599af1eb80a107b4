/**
 * The elements of one server's channels in the page of a notebook, and the outputs that are places for them.
 *
 * An element is in the place that the newest cell has for its channel, whatever output comes later, and of that in the
 * one that has come into the page last: an output can be shown in several views, and is made anew when the front end
 * renders it again.
 */

/** A place in the page, how many places the server had made before it, and how many had come before it. */
interface Arrival {
  readonly place: HTMLElement;
  readonly order: number;
  readonly number: number;
}

/** The elements. Those that nothing uses any more can be garbage-collected. */
export class Elements {
  readonly #server: string;
  readonly #requestPlace: (channel: number) => void;
  // This is a live collection, which browsers cache: iterating over it is cheap if the page has not changed.
  readonly #found = document.getElementsByClassName('jchannel-element') as HTMLCollectionOf<HTMLElement>;
  /** The places that have been seen, in the order in which they came. */
  readonly #arrivals = new WeakMap<Node, number>();
  readonly #elements = new Map<string, WeakRef<HTMLElement>>();
  #count = 0;

  /**
   * @param server - The server's public name.
   * @param requestPlace - Asks for an output that is a place for the element of a channel.
   */
  constructor(server: string, requestPlace: (channel: number) => void) {
    this.#server = server;
    this.#requestPlace = requestPlace;
  }

  /** Return a new element for a channel. If the page has no place for it yet, one is asked for. */
  make(channel: number): HTMLElement {
    const element = document.createElement('div');
    this.#elements.set(String(channel), new WeakRef(element));
    this.update();
    if (element.parentNode === null) {
      this.#requestPlace(channel);
    }
    return element;
  }

  /** Put the elements into their places, after the page has changed. */
  update(): void {
    for (const [channel, { place }] of this.#findPlaces()) {
      const element = this.#elements.get(channel)?.deref();
      const parent = element?.parentNode;
      // The channel's code may have moved it to somewhere else.
      if (element !== undefined && parent !== place && (!parent || this.#arrivals.has(parent))) {
        place.replaceChildren(element);
      }
    }
  }

  /** Return the place of each channel that its element is to be in. */
  #findPlaces(): Map<string, Arrival> {
    const newest = new Map<string, Arrival>();
    for (const place of this.#found) {
      const [server, channel = ''] = (place.dataset['jchannelElement'] ?? '').split(' ');
      if (server === this.#server) {
        const number = this.#arrivals.get(place) ?? this.#count++;
        this.#arrivals.set(place, number);
        const order = Number(place.dataset['jchannelOrder'] ?? 0);
        const other = newest.get(channel);
        if (other === undefined || other.order < order || (other.order === order && other.number < number)) {
          newest.set(channel, { place, order, number });
        }
      }
    }
    return newest;
  }
}
