/** Classes that several scripts of one page have: each script has the whole client in it. */

/**
 * Make `instanceof` true also for the instances that another script's class of the same name has made: the page's client
 * may be of the injected script, and the class of the module.
 */
export function shareClasses(classes: Readonly<Record<string, abstract new (...args: never) => object>>): void {
  for (const [name, Class] of Object.entries(classes)) {
    const mark = Symbol.for(`jchannel.${name}`);
    Object.defineProperty(Class.prototype, mark, { value: true });
    Object.defineProperty(Class, Symbol.hasInstance, {
      value(this: unknown, instance: unknown): boolean {
        return this === Class
          ? typeof instance === 'object' && instance !== null && mark in instance
          : // A subclass inherits this method.
            Function.prototype[Symbol.hasInstance].call(this, instance);
      },
    });
  }
}
