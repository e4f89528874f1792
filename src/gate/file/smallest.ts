/** A gate file that suffices, for messages: apart, as its reader takes a while to load. */
export const SMALLEST = '{ "checkpoints": [{ "source": "outputs/step-1000", "target": "my-model" }] }';
