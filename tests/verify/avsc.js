// Reads Avro files with avsc, a reader that is not ours, and prints an object a file: what avro.py prints, but logical
// types as the numbers, text and bytes that they are kept in.
//
// Ends with code 1 and the file's name where avsc fails, with code 3 where it does not know the file's codec. null and
// deflate are its own; for snappy and zstandard it takes decoders from two other packages. A file that ends inside a
// block is to avsc one that ends before it: avro.py refuses such files.
//
// usage: avsc.js [--dump] FILE…        (NODE_PATH names the folder of the packages)

const avro = require('avsc');
const fzstd = require('fzstd');
const snappy = require('snappyjs');

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_UNKNOWN_CODEC = 3;
const CHECKSUM_BYTES = 4;

const decoder = (decode) => (block, done) => {
  let decoded;
  try {
    decoded = Buffer.from(decode(block));
  } catch (error) {
    done(error);
    return;
  }
  done(null, decoded);
};
const codecs = {
  ...avro.streams.BlockDecoder.defaultCodecs(),
  // What follows the block is its CRC-32, which Apache's reader checks.
  snappy: decoder((block) => snappy.uncompress(block.subarray(0, -CHECKSUM_BYTES))),
  zstandard: decoder((block) => fzstd.decompress(block)),
};

/// A value as JSON has it: bytes as text where they are UTF-8, else in base64; what JSON has no form for, as text.
function plain(value) {
  if (Buffer.isBuffer(value)) {
    const text = value.toString('utf8');
    return Buffer.from(text, 'utf8').equals(value) ? text : value.toString('base64');
  }
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

/// What a record is about: the device of a message, else its own `id`; none where it has neither.
function idOf(record) {
  const id = record.SystemProperties ? record.SystemProperties.connectionDeviceId : record.id;
  return id === undefined ? null : id;
}

function read(file) {
  return new Promise((resolve, reject) => {
    const records = [];
    let codec;
    avro.createFileDecoder(file, { codecs })
      .on('metadata', (_type, name) => { codec = name; })
      .on('data', (record) => records.push(record))
      .on('end', () => resolve({ codec, records }))
      .on('error', reject);
  });
}

async function main() {
  const files = process.argv.slice(2).filter((each) => each !== '--dump');
  const dump = process.argv.includes('--dump');
  if (files.length === 0) {
    console.error('usage: avsc.js [--dump] FILE…');
    process.exitCode = EXIT_USAGE;
    return;
  }
  for (const file of files) {
    try {
      const { codec, records } = await read(file);
      const found = { file, codec, records: records.length, ids: records.map(idOf) };
      if (dump) found.values = records.map(plain);
      console.log(JSON.stringify(found));
    } catch (error) {
      const unknown = /^unknown codec: (.*)$/.exec(error.message);
      console.error(`${file}: ${unknown ? `codec not known: ${unknown[1]}` : error.message}`);
      process.exitCode = unknown ? EXIT_UNKNOWN_CODEC : EXIT_FAILED;
      return;
    }
  }
}

main();
