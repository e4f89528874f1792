// Whether rules are the same at two configs, told by what they ask of a config: of some hundred fields that one could change,
// few decide which tensors there are.

interface Question {
  readonly path: readonly string[];
  readonly of: (holder: object, name: string) => unknown;
  readonly answer: unknown;
}

const VALUE = (holder: object, name: string): unknown => Reflect.get(holder, name);
const IS_OBJECT = (holder: object, name: string): unknown => isPlain(Reflect.get(holder, name));
const IS_THERE = (holder: object, name: string): unknown => name in holder;
const KEYS = (holder: object): unknown => Object.keys(holder);

/** A config that notes what is asked of it. Plain objects in it are looked into; of anything else the whole counts. */
function noted<T extends object>(value: T, asked: Question[], path: readonly string[] = []): T {
  const inner = new Map<string, object>();
  const before = new Set<unknown>();
  const note = (of: Question["of"], name: string | symbol): unknown => {
    const answer = of(value, String(name));
    const id = `${of.name} ${String(name)}`;
    if (typeof name === "string" && !before.has(id)) asked.push({ path: [...path, name], of, answer });
    before.add(id);
    return answer;
  };
  return new Proxy(value, {
    get(target, name) {
      if (typeof name === "symbol") return Reflect.get(target, name);
      const own: unknown = Reflect.get(target, name);
      if (!isPlain(own) || isFixed(target, name)) return note(VALUE, name);
      note(IS_OBJECT, name);
      const within = inner.get(name) ?? noted(own, asked, [...path, name]);
      inner.set(name, within);
      return within;
    },
    has(target, name) {
      note(IS_THERE, name);
      return Reflect.has(target, name);
    },
    ownKeys(target) {
      note(KEYS, "");
      return Reflect.ownKeys(target);
    },
    getOwnPropertyDescriptor(target, name) {
      note(VALUE, name);
      return Reflect.getOwnPropertyDescriptor(target, name);
    },
  });
}

const isPlain = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** A proxy must give what stands in such a place. */
function isFixed(target: object, name: string): boolean {
  const own = Object.getOwnPropertyDescriptor(target, name);
  return own?.configurable === false && own.writable === false;
}

/**
 * Whether another config answers all that was asked of this one as this one does: whoever asked then does the same.
 * @param ask asks the config that it is given, and nothing that changes
 */
export function sameAnswers<C>(config: C, ask: (config: C) => void): (other: unknown) => boolean {
  if (!isPlain(config)) return () => false;
  const asked: Question[] = [];
  ask(noted(config, asked));
  return (other) => asked.every((question) => answers(other, question));
}

function answers(config: unknown, { path, of, answer }: Question): boolean {
  const holder = path.slice(0, -1).reduce<unknown>((at, name) => (isPlain(at) ? Reflect.get(at, name) : null), config);
  return isPlain(holder) && isAlike(of(holder, path.at(-1)!), answer);
}

/** Of lists and plain objects the values, of anything else itself. */
function isAlike(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((value, i) => isAlike(value, other[i]));
  if (!isPlain(one) || !isPlain(other)) return false;
  const [names, others] = [Object.keys(one), Object.keys(other)];
  const isIn = (name: string) => Object.hasOwn(other, name);
  return (
    names.length === others.length && names.every((name) => isIn(name) && isAlike(VALUE(one, name), VALUE(other, name)))
  );
}
