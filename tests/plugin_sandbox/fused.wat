;; Two components with a memory each, of which `$caller` passes text to `$callee`. The runtime connects them by a module of
;; its own, which has both memories.
(component
  (component $callee
    (core module $code
      (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
      (func (export "length") (param i32 i32) (result i32) (local.get 1)))
    (core instance $code (instantiate $code))
    (func (export "length") (param "text" string) (result u32)
      (canon lift (core func $code "length") (memory $code "memory") (realloc (func $code "realloc")))))
  (component $caller
    (import "length" (func $length (param "text" string) (result u32)))
    (core module $data (memory (export "memory") 1) (data (i32.const 0) "a text of 21 letters."))
    (core instance $data (instantiate $data))
    (core func $lowered (canon lower (func $length) (memory $data "memory")))
    (core module $code
      (import "" "length" (func $length (param i32 i32) (result i32)))
      (func (export "run") (result i32) (call $length (i32.const 0) (i32.const 21))))
    (core instance $code (instantiate $code (with "" (instance (export "length" (func $lowered))))))
    (func (export "run") (result u32) (canon lift (core func $code "run"))))
  (instance $callee (instantiate $callee))
  (instance $caller (instantiate $caller (with "length" (func $callee "length"))))
  (export "run" (func $caller "run")))
