// Key paths and where they stand in a file.

/** Keys and list indexes from the top of a file. */
export type KeyPath = readonly (string | number)[];

/** A position in a file, both counted from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Places of the keys (of list items: of the values), by {@link pathText}. */
export type Places = Map<string, Place>;

/** A key path as people write it: `hooks[0].path`, `a."odd key"`. */
export function pathText(path: KeyPath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += (text === "" ? "" : ".") + (/^[A-Za-z0-9_$-]+$/.test(part) ? part : JSON.stringify(part));
  }
  return text;
}

/** The place of a path, or of the nearest key around it. */
export function findPlace(places: Places, path: KeyPath): Place | undefined {
  for (let length = path.length; length > 0; length--) {
    const place = places.get(pathText(path.slice(0, length)));
    if (place) return place;
  }
  return undefined;
}

/** Turns offsets into lines and columns. */
export function placeFinder(text: string): (offset: number) => Place {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - starts[low]! + 1 };
  };
}
