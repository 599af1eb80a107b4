/** Where the elements of channels are in the page of a notebook. */

import { beforeEach, describe, expect, test, vi } from 'vitest';
import { Elements } from '../../src/notebook/elements.js';
import { FakeElement, FakePage } from './fakes.js';

let page: FakePage;
let elements: Elements;
let asked: number[];

beforeEach(() => {
  page = new FakePage();
  asked = [];
  elements = new Elements('server', (channel) => asked.push(channel));
});

/** Make an element, as the code of a channel does. */
function make(channel: number): FakeElement {
  return elements.make(channel) as unknown as FakeElement;
}

/** Add a place, and let the page's observer report it. */
function show(name?: string, order?: number): FakeElement {
  const place = page.addPlace(name, order);
  elements.update();
  return place;
}

function remove(place: FakeElement): void {
  page.places.splice(page.places.indexOf(place), 1);
  elements.update();
}

describe('the element of a channel', () => {
  test('asks for a place, and is in it as soon as it comes', () => {
    const element = make(3);
    expect(element.parentNode).toBeNull();
    expect(asked).toStrictEqual([3]);
    const place = show('server 3');
    expect(place.children).toStrictEqual([element]);
    expect(asked).toStrictEqual([3]);
  });

  test('is at once in the place that a saved notebook has', () => {
    const place = page.addPlace('server 3');
    place.textContent = 'Run the cells again.';
    const element = make(3);
    expect(place.children).toStrictEqual([element]);
    expect(place.textContent).toBe('');
    expect(asked).toStrictEqual([]);
  });

  test('stays in the place of the newest cell when that of an older one comes later', () => {
    const element = make(3);
    const newest = show('server 3', 5);
    show('server 3', 4);
    expect(newest.children).toStrictEqual([element]);
    const again = show('server 3', 5);
    expect(again.children).toStrictEqual([element]);
    expect(show('server 3', 10).children).toStrictEqual([element]);
  });

  test('does not go to the places of others', () => {
    const element = make(3);
    show('server 4');
    show('other 3');
    show('server');
    show();
    expect(element.parentNode).toBeNull();
  });

  test('is where it was shown last, and goes back when that is removed', () => {
    const first = show('server 3');
    const element = make(3);
    const second = page.addPlace('server 3');
    page.places.reverse();
    elements.update();
    expect(element.parentNode).toBe(second);
    remove(second);
    expect(element.parentNode).toBe(first);
  });

  test('stays in a place that is taken out of the page and put back', () => {
    const place = show('server 3');
    const element = make(3);
    remove(place);
    expect(element.parentNode).toBe(place);
    const replace = vi.spyOn(place, 'replaceChildren');
    page.places.push(place);
    elements.update();
    expect(element.parentNode).toBe(place);
    expect(replace).not.toHaveBeenCalled();
  });

  test('stays where the code of the channel has put it', () => {
    const element = make(3);
    const own = new FakeElement();
    own.replaceChildren(element);
    const place = show('server 3');
    expect(element.parentNode).toBe(own);
    expect(place.children).toStrictEqual([]);
  });

  test('takes over from the one of the same channel before the page was connected again', () => {
    const place = show('server 3');
    make(3);
    expect(place.children).toStrictEqual([make(3)]);
  });
});
