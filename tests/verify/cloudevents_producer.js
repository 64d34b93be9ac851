// Sends CloudEvents with the JavaScript SDK: node cloudevents_producer.js URL. Prints the IDs that were accepted, a line each.
const { CloudEvent, HTTP } = require("cloudevents");

const ODD = 'plain, 100 %, "quoted", \u2603 and \u{1F600}';

async function send(message) {
  const answer = await fetch(process.argv[2], { method: "POST", headers: message.headers, body: message.body });
  if (![200, 202].includes(answer.status)) throw new Error(`${answer.status}: ${await answer.text()}`);
}

async function main() {
  const data = [{ n: 1 }, [1, 2], { text: ODD }];
  for (let number = 0; number < data.length; number++) {
    const event = new CloudEvent({
      id: `node-${number}`, source: "/machines/2", type: "com.example.brew", time: `2026-11-30T11:0${number}:00Z`,
      datacontenttype: "application/json", data: data[number],
    });
    // The second is a repetition of the first.
    await send(HTTP.structured(event));
    await send(HTTP.binary(event));
    console.log(event.id);
  }
}

main();
