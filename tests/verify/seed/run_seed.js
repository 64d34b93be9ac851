// Runs one of the documentation's JavaScript programs, as it stands beside this file, on an Avro file.
//
// usage: run_seed.js measurements|devices|device_templates FILE        (NODE_PATH names the folder that has avsc)

const fs = require('fs');
const path = require('path');
const vm = require('vm');

if (process.argv.length !== 4) {
  console.error('usage: run_seed.js measurements|devices|device_templates FILE');
  process.exit(2);
}
const [kind, file] = process.argv.slice(2);
const program = path.join(__dirname, `${kind}.js`);
// The program only declares `parse`: it is loaded as a script, which sees `require` as a global name.
globalThis.require = require;
const parse = vm.runInThisContext(`${fs.readFileSync(program, 'utf8')}; parse`, { filename: program });
parse(file).catch((error) => {
  console.error(`${file}: ${error.message}`);
  process.exitCode = 1;
});
