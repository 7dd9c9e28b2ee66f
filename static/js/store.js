// What this browser remembers. Storage may be switched off: then nothing is remembered and nothing breaks.

export function recall(key, otherwise = null) {
  try {
    const found = localStorage.getItem(key);
    return found === null ? otherwise : JSON.parse(found);
  } catch {
    return otherwise;
  }
}

export function remember(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Nothing to do: see above.
  }
}
